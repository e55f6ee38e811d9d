#include "core/parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/hash.h"

namespace lockstep {
namespace {

/// Stores the elements backwards, with one place of padding after every three.
class BackwardsPadded final : public StorageOrder {
 public:
  explicit BackwardsPadded(std::int64_t count) : count_(count) {}
  [[nodiscard]] std::int64_t stored_count() const noexcept override { return (count_ + 2) / 3 * 4; }
  void to_storage(std::span<const float> canonical, std::span<float> stored) const override {
    std::fill(stored.begin(), stored.end(), 0.0F);
    for (std::size_t i = 0; i < canonical.size(); ++i) stored[place(canonical.size() - 1 - i)] = canonical[i];
  }
  void to_canonical(std::span<const float> stored, std::span<float> canonical) const override {
    for (std::size_t i = 0; i < canonical.size(); ++i) canonical[i] = stored[place(canonical.size() - 1 - i)];
  }
  [[nodiscard]] std::string name() const override { return "test:backwards"; }

 private:
  static std::size_t place(std::size_t index) { return index / 3 * 4 + index % 3; }
  std::int64_t count_;
};

SlotSpec spec(std::string name, Shape shape, bool padded = false) {
  StorageOrderPtr storage;
  if (padded) storage = std::make_shared<BackwardsPadded>(shape.count());
  return {.name = std::move(name), .shape = std::move(shape), .storage = std::move(storage)};
}

std::vector<float> numbers(std::int64_t count, float first) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return values;
}

/// A store with the three slots a, b, c in the order of `names`, holding the same values for any order.
ParameterStore three_slots(const std::string& names, bool padded) {
  const std::map<char, Shape> shapes = {{'a', {2, 3}}, {'b', {5}}, {'c', {7, 11, 2}}};
  std::vector<SlotSpec> specs;
  for (const char name : names) specs.push_back(spec(std::string(1, name), shapes.at(name), padded));
  ParameterStore store(SlotLayout(specs), SlotLayout({spec("running_mean", {4}, padded)}), Device{});
  store.write("a", numbers(6, 1));
  store.write("b", numbers(5, -100));
  store.write("c", numbers(154, 0.25F));
  store.write("running_mean", numbers(4, 9));
  return store;
}

TEST(SlotLayout, slots_lie_in_order_on_aligned_offsets) {
  const SlotLayout layout({spec("w", {10, 7}), spec("b", {7}), spec("scalar", Shape{}), spec("v", {64})});
  ASSERT_EQ(layout.slots().size(), 4U);
  std::vector<std::int64_t> offsets;
  for (const Slot& slot : layout.slots()) offsets.push_back(slot.offset);
  EXPECT_EQ(offsets, (std::vector<std::int64_t>{0, 128, 192, 256}));
  EXPECT_EQ(layout.stored_count(), 320);
  EXPECT_EQ(layout.canonical_count(), 70 + 7 + 1 + 64);
  EXPECT_EQ(layout.slots()[2].stored_count, 1);
}

TEST(SlotLayout, padded_storage_takes_its_stored_count) {
  const SlotLayout layout({spec("w", {100}, true), spec("b", {1})});
  EXPECT_EQ(layout.slots()[0].stored_count, 136);
  EXPECT_EQ(layout.slots()[1].offset, 192);
  EXPECT_EQ(layout.canonical_count(), 101);
}

TEST(SlotLayout, slots_are_found_by_name) {
  const SlotLayout layout({spec("w", {2}), spec("b", {2}), spec("w.x", {2})});
  ASSERT_NE(layout.find("w.x"), nullptr);
  EXPECT_EQ(layout.find("w.x")->offset, 128);
  EXPECT_EQ(layout.find("w."), nullptr);
  EXPECT_EQ(layout.find(""), nullptr);
  EXPECT_EQ(layout.find("z"), nullptr);
  EXPECT_EQ(SlotLayout().find("w"), nullptr);
}

TEST(SlotLayout, canonical_order_is_by_name) {
  const SlotLayout layout({spec("w", {2}), spec("b", {2}), spec("a.b", {2})});
  const auto order = layout.canonical_order();
  EXPECT_EQ(std::vector<int>(order.begin(), order.end()), (std::vector<int>{2, 1, 0}));
}

TEST(SlotLayout, repeated_name_is_refused_by_name) {
  try {
    const SlotLayout layout({spec("w", {2}), spec("b", {2}), spec("w", {3})});
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_STREQ(error.what(), "two slots are named 'w'");
  }
}

TEST(ParameterStore, arrays_have_the_layouts_counts_and_start_at_zero) {
  const ParameterStore store(SlotLayout({spec("w", {100})}), SlotLayout(), Device{});
  EXPECT_EQ(store.values().count, 128);
  EXPECT_EQ(store.gradients().count, 128);
  EXPECT_EQ(store.state().count, 0);
  for (const FlatSpan array : {store.values(), store.gradients()}) {
    const auto elements = array.as<float>();
    EXPECT_TRUE(std::all_of(elements.begin(), elements.end(), [](float value) { return value == 0; }));
  }
}

TEST(ParameterStore, written_values_are_read_back) {
  for (const bool padded : {false, true}) {
    const ParameterStore store = three_slots("cab", padded);
    EXPECT_EQ(store.read("a"), numbers(6, 1));
    EXPECT_EQ(store.read("b"), numbers(5, -100));
    EXPECT_EQ(store.read("c"), numbers(154, 0.25F));
    EXPECT_EQ(store.read("running_mean"), numbers(4, 9));
  }
}

TEST(ParameterStore, storage_order_and_padding_are_real) {
  const ParameterStore store = three_slots("abc", true);
  const auto values = store.values().as<float>();
  EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + 9),
            (std::vector<float>{6, 5, 4, 0, 3, 2, 1, 0, 0}));
}

TEST(ParameterStore, hash_is_that_of_the_canonical_array) {
  std::vector<float> canonical = numbers(6, 1);
  for (const float value : numbers(5, -100)) canonical.push_back(value);
  for (const float value : numbers(154, 0.25F)) canonical.push_back(value);
  EXPECT_EQ(three_slots("abc", false).parameter_hash(), hash_floats(canonical));
}

TEST(ParameterStore, hash_is_equal_for_other_slot_and_storage_orders) {
  const ParameterStore plain = three_slots("abc", false);
  for (const char* names : {"abc", "cab", "bca", "cba"}) {
    for (const bool padded : {false, true}) {
      const ParameterStore other = three_slots(names, padded);
      EXPECT_EQ(other.parameter_hash(), plain.parameter_hash()) << names << padded;
      EXPECT_EQ(other.state_hash(), plain.state_hash()) << names << padded;
    }
  }
}

TEST(ParameterStore, hash_sees_one_changed_bit_and_swapped_values) {  // negative control
  ParameterStore store = three_slots("abc", true);
  const std::uint64_t hash = store.parameter_hash();
  std::vector<float> values = store.read("c");
  values[153] = std::nextafter(values[153], 1000.0F);
  store.write("c", values);
  EXPECT_NE(store.parameter_hash(), hash);
  store.write("c", numbers(154, 0.25F));
  EXPECT_EQ(store.parameter_hash(), hash);
  store.write("a", std::vector<float>{2, 1, 3, 4, 5, 6});
  EXPECT_NE(store.parameter_hash(), hash);
}

TEST(ParameterStore, hash_ignores_gradients_and_state) {
  ParameterStore store = three_slots("abc", false);
  const std::uint64_t hash = store.parameter_hash();
  store.gradients().as<float>()[0] = 5;
  store.write("running_mean", numbers(4, 0));
  EXPECT_EQ(store.parameter_hash(), hash);
}

TEST(ParameterStore, saved_state_loads_into_any_order) {
  const ParameterStore original = three_slots("abc", false);
  StateMap map;
  StateWriter writer(map);
  original.save(writer);
  ParameterStore other = three_slots("cba", true);
  other.write("b", numbers(5, 77));
  other.write("running_mean", numbers(4, 77));
  other.load(StateReader(map));
  EXPECT_EQ(other.parameter_hash(), original.parameter_hash());
  EXPECT_EQ(other.state_hash(), original.state_hash());
  EXPECT_EQ(other.read("b"), numbers(5, -100));
}

TEST(ParameterStore, loading_another_model_is_a_checkpoint_fault) {
  StateMap map;
  StateWriter writer(map);
  three_slots("abc", false).save(writer);
  ParameterStore missing(SlotLayout({spec("d", {2, 3})}), SlotLayout(), Device{});
  ParameterStore reshaped(SlotLayout({spec("a", {3, 2})}), SlotLayout(), Device{});
  for (ParameterStore* store : {&missing, &reshaped}) {
    try {
      store->load(StateReader(map));
      FAIL() << "must throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint);
      EXPECT_NE(std::string(error.what()).find(store->layout().slots()[0].name), std::string::npos);
    }
  }
}

TEST(ParameterStore, wrong_names_and_sizes_are_refused) {
  ParameterStore store = three_slots("abc", true);
  try {
    static_cast<void>(store.read("nothing"));
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
  }
  try {
    store.write("a", numbers(7, 0));
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    EXPECT_STREQ(error.what(), "slot 'a' has shape [2, 3], but 7 numbers were given");
  }
  EXPECT_EQ(store.read("a"), numbers(6, 1));
}

TEST(ParameterStore, lent_gradient_memory_is_used_and_zeroed) {
  std::vector<float> window(200, 3.0F);
  bool released = false;
  {
    Memory lent(window.data(), 200 * sizeof(float), Device{}, [&released](void*) { released = true; });
    const ParameterStore store(SlotLayout({spec("w", {100})}), SlotLayout(), Device{}, std::move(lent));
    EXPECT_EQ(store.gradients().data, window.data());
    EXPECT_EQ(store.gradients().count, 128);
    EXPECT_EQ(window[127], 0.0F);
    EXPECT_EQ(window[128], 3.0F);
    EXPECT_FALSE(released);
  }
  EXPECT_TRUE(released);
}

TEST(ParameterStore, gradients_move_to_lent_memory_and_back_to_own) {
  std::vector<float> window(128, 3.0F);
  bool released = false;
  ParameterStore store(SlotLayout({spec("w", {100})}), SlotLayout(), Device{});
  store.move_gradients(
      Memory(window.data(), 128 * sizeof(float), Device{}, [&released](void*) { released = true; }));
  EXPECT_EQ(store.gradients().data, window.data());
  EXPECT_TRUE(window[127] == 0 && !released);
  store.move_gradients({});
  EXPECT_TRUE(released);
  EXPECT_NE(store.gradients().data, window.data());
  EXPECT_EQ(*static_cast<const float*>(store.gradients().data), 0.0F);
}

TEST(ParameterStore, lent_gradient_memory_that_is_too_small_is_refused) {
  std::vector<float> window(127);
  Memory lent(window.data(), 127 * sizeof(float), Device{}, {});
  EXPECT_THROW(ParameterStore(SlotLayout({spec("w", {100})}), SlotLayout(), Device{}, std::move(lent)),
               Error);
}

TEST(ParameterStore, moved_store_keeps_its_arrays) {
  ParameterStore store = three_slots("abc", false);
  const std::uint64_t hash = store.parameter_hash();
  const ParameterStore moved(std::move(store));
  EXPECT_EQ(moved.parameter_hash(), hash);
}

TEST(SlotArrays, low_precision_arrays_are_read_and_written_as_floats) {
  const SlotLayout layout({spec("w", {6}, true), spec("b", {3})});
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16, Dtype::f32}) {
    const FlatArray array = make_array(Device{}, dtype, layout.stored_count());
    write_slot(layout.slots()[0], array.span, numbers(6, -2));
    EXPECT_EQ(read_slot(layout.slots()[0], array.span), numbers(6, -2)) << name_of(dtype);
    EXPECT_EQ(read_slot(layout.slots()[1], array.span), (std::vector<float>{0, 0, 0}));
  }
}

TEST(SlotArrays, momentum_survives_a_change_of_slot_order) {
  const SlotLayout before({spec("w", {6}), spec("b", {3})});
  const SlotLayout after({spec("b", {3}, true), spec("w", {6}, true)});
  const FlatArray momentum = make_array(Device{}, Dtype::f32, before.stored_count());
  write_slot(before.slots()[0], momentum.span, numbers(6, 1));
  write_slot(before.slots()[1], momentum.span, numbers(3, 50));
  StateMap map;
  StateWriter writer = StateWriter(map).scope("momentum");
  save_slots(writer, before, momentum.span);
  const FlatArray resumed = make_array(Device{}, Dtype::f32, after.stored_count());
  load_slots(StateReader(map).scope("momentum"), after, resumed.span);
  EXPECT_EQ(read_slot(after.slots()[1], resumed.span), numbers(6, 1));
  EXPECT_EQ(read_slot(after.slots()[0], resumed.span), numbers(3, 50));
  EXPECT_EQ(slot_hash(after, resumed.span), slot_hash(before, momentum.span));
}

TEST(SlotArrays, array_of_another_layout_or_type_is_refused) {
  const SlotLayout layout({spec("w", {6}), spec("b", {3})});
  const FlatArray small = make_array(Device{}, Dtype::f32, 64);
  EXPECT_THROW(static_cast<void>(read_slot(layout.slots()[1], small.span)), Error);
  const FlatArray integers = make_array(Device{}, Dtype::i32, 128);
  EXPECT_THROW(static_cast<void>(read_slot(layout.slots()[0], integers.span)), Error);
}

}  // namespace
}  // namespace lockstep
