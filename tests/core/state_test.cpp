// What is written comes back, and what does not fit is refused by name. Also the order-free hash.
#include "core/state.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/hash.h"

namespace lockstep {
namespace {

std::string refusal(const std::function<void()>& work, Fault fault) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault);
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

TEST(State, every_kind_of_value_comes_back) {
  StateMap map;
  StateWriter writer(map);
  StateWriter inner = writer.scope("optimizer").scope("momentum");
  inner.floats("fc.weight", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, -0.0F});
  inner.floats("empty", {0}, {});
  writer.integers("cursor", std::vector<std::int64_t>{3, -1});
  writer.integer("step", -42);
  writer.real("loss_scale", 0.1);
  writer.text("schedule", "double_tree");
  writer.text("nothing", "");
  writer.bytes("blob", std::vector<std::byte>{std::byte{0}, std::byte{255}});

  const StateReader reader(map);
  const StateReader scope = reader.scope("optimizer").scope("momentum");
  EXPECT_EQ(scope.floats("fc.weight", {2, 3}), (std::vector<float>{1, 2, 3, 4, 5, -0.0F}));
  EXPECT_TRUE(scope.floats("empty", {0}).empty());
  EXPECT_EQ(reader.integers("cursor"), (std::vector<std::int64_t>{3, -1}));
  EXPECT_EQ(reader.integer("step"), -42);
  EXPECT_EQ(reader.real("loss_scale"), 0.1);
  EXPECT_EQ(reader.text("schedule"), "double_tree");
  EXPECT_EQ(reader.text("nothing"), "");
  EXPECT_EQ(reader.bytes("blob").at(1), std::byte{255});
  EXPECT_TRUE(map.entries.contains("optimizer/momentum/fc.weight"));
}

TEST(State, prefix_given_at_the_start_equals_a_scope) {
  StateMap map;
  StateWriter(map, "a").scope("b").integer("c", 5);
  EXPECT_EQ(StateReader(map, "a/b").integer("c"), 5);
}

TEST(State, has_and_any_see_only_their_own_scope) {
  StateMap map;
  StateWriter(map).scope("sync").integer("phase", 1);
  const StateReader reader(map);
  EXPECT_TRUE(reader.any());
  EXPECT_TRUE(reader.scope("sync").any());
  EXPECT_TRUE(reader.scope("sync").has("phase"));
  EXPECT_FALSE(reader.scope("sync").has("phas"));
  EXPECT_FALSE(reader.scope("syn").any());  // a prefix of a name is not a scope
  EXPECT_FALSE(reader.scope("sync").scope("phase").any());
  EXPECT_FALSE(StateReader(StateMap{}).any());
}

TEST(State, missing_key_wrong_dtype_and_wrong_shape_are_refused_by_name) {
  StateMap map;
  StateWriter writer(map, "opt");
  writer.floats("m", {4}, std::vector<float>(4));
  writer.integers("pair", std::vector<std::int64_t>{1, 2});
  const StateReader reader(map, "opt");
  EXPECT_NE(refusal([&] { (void)reader.integer("v"); }, Fault::checkpoint).find("'opt/v'"),
            std::string::npos);
  const std::string dtype = refusal([&] { (void)reader.integer("m"); }, Fault::checkpoint);
  EXPECT_NE(dtype.find("'opt/m' holds f32, not i64"), std::string::npos);
  const std::string shape = refusal([&] { (void)reader.floats("m", {2, 2}); }, Fault::checkpoint);
  EXPECT_NE(shape.find("[4], not [2, 2]"), std::string::npos);
  EXPECT_NE(refusal([&] { (void)reader.integer("pair"); }, Fault::checkpoint).find("'opt/pair'"),
            std::string::npos);
}

TEST(State, writing_twice_or_with_the_wrong_size_is_our_own_mistake) {
  StateMap map;
  StateWriter writer(map);
  writer.integer("step", 1);
  EXPECT_NE(refusal([&] { writer.integer("step", 2); }, Fault::internal).find("'step'"), std::string::npos);
  EXPECT_NE(refusal([&] { writer.floats("m", {3}, std::vector<float>(2)); }, Fault::internal).find("'m'"),
            std::string::npos);
  EXPECT_EQ(StateReader(map).integer("step"), 1);
}

TEST(Hash, parts_in_any_order_add_up_to_the_whole) {
  std::vector<float> values(1009);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.25F - 100;
  const std::uint64_t whole = hash_floats(values);
  const std::span<const float> span(values);
  EXPECT_EQ(hash_floats(span.subspan(500), 500) + hash_floats(span.first(500)), whole);
  EXPECT_NE(hash_floats(span.subspan(500)) + hash_floats(span.first(500)), whole);  // wrong indices
  EXPECT_EQ(hash_floats({}), 0u);
}

TEST(Hash, one_bit_or_a_swap_changes_it) {
  const std::vector<float> zero = {0.0F, 1.0F};
  EXPECT_NE(hash_floats(zero), hash_floats(std::vector<float>{-0.0F, 1.0F}));
  EXPECT_NE(hash_floats(zero), hash_floats(std::vector<float>{1.0F, 0.0F}));
  EXPECT_NE(hash_floats(zero), hash_floats(std::vector<float>{0.0F, 1.0F, 0.0F}));
}

TEST(Hash, text_is_sixteen_lower_case_digits) {
  EXPECT_EQ(hash_text(0), "0000000000000000");
  EXPECT_EQ(hash_text(0x0123456789abcdefULL), "0123456789abcdef");
  EXPECT_EQ(hash_text(~0ULL), "ffffffffffffffff");
}

}  // namespace
}  // namespace lockstep
