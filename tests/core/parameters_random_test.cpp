// Models of random slots: whatever order, storage and padding the slots have, values, hashes and saved state
// are those of the canonical form.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "core/parameters.h"
#include "core/random.h"

namespace lockstep {
namespace {

/// Stores the elements in a random order among places of which some hold zeros.
class Shuffled final : public StorageOrder {
 public:
  Shuffled(std::int64_t count, std::int64_t padding, unsigned seed) : stored_(count + padding) {
    places_.resize(static_cast<std::size_t>(stored_));
    std::iota(places_.begin(), places_.end(), std::size_t{0});
    std::shuffle(places_.begin(), places_.end(), std::mt19937(seed));
    places_.resize(static_cast<std::size_t>(count));
  }
  [[nodiscard]] std::int64_t stored_count() const noexcept override { return stored_; }
  void to_storage(std::span<const float> canonical, std::span<float> stored) const override {
    std::fill(stored.begin(), stored.end(), 0.0F);
    for (std::size_t i = 0; i < canonical.size(); ++i) stored[places_[i]] = canonical[i];
  }
  void to_canonical(std::span<const float> stored, std::span<float> canonical) const override {
    for (std::size_t i = 0; i < canonical.size(); ++i) canonical[i] = stored[places_[i]];
  }
  [[nodiscard]] std::string name() const override { return "test:shuffled"; }

 private:
  std::int64_t stored_;
  std::vector<std::size_t> places_;
};

/// Names and shapes of a random model, by seed.
std::map<std::string, Shape> random_shapes(unsigned seed) {
  std::mt19937 random(seed);
  std::map<std::string, Shape> shapes;
  const auto slots = 1 + random() % 12;
  for (std::size_t i = 0; i < slots; ++i) {
    std::vector<std::int64_t> extents(random() % 5);
    for (auto& extent : extents) extent = 1 + static_cast<std::int64_t>(random() % 7);
    shapes["layer" + std::to_string(random() % 1000) + (i % 2 == 0 ? ".weight" : ".bias")] = Shape(extents);
  }
  return shapes;
}

std::vector<float> values_of(const std::string& name, const Shape& shape) {
  const RandomSource random(1, name, 0);
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return values;
}

/// The same model laid out in an order and storage of its own, with its values written.
ParameterStore laid_out(const std::map<std::string, Shape>& shapes, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<SlotSpec> specs;
  for (const auto& [name, shape] : shapes) {
    StorageOrderPtr storage;
    if (random() % 2 == 0) storage = std::make_shared<Shuffled>(shape.count(), random() % 100, seed);
    specs.push_back({name, shape, storage});
  }
  std::shuffle(specs.begin(), specs.end(), random);
  ParameterStore store(SlotLayout(specs), SlotLayout(), Device{});
  for (const auto& [name, shape] : shapes) store.write(name, values_of(name, shape));
  return store;
}

class RandomModel : public testing::TestWithParam<unsigned> {
 protected:
  std::map<std::string, Shape> shapes_ = random_shapes(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomModel, testing::Range(0U, 20U));

TEST_P(RandomModel, slots_are_aligned_apart_and_in_order) {
  const auto store = laid_out(shapes_, GetParam());
  std::int64_t end = 0;
  std::int64_t canonical = 0;
  for (const Slot& slot : store.layout().slots()) {
    EXPECT_EQ(slot.offset % kSlotAlignment, 0);
    EXPECT_GE(slot.offset, end);
    EXPECT_LT(slot.offset, end + kSlotAlignment) << "no more room than alignment needs";
    EXPECT_GE(slot.stored_count, slot.shape.count());
    end = slot.offset + slot.stored_count;
    canonical += slot.shape.count();
  }
  EXPECT_GE(store.layout().stored_count(), end);
  EXPECT_LT(store.layout().stored_count(), end + kSlotAlignment);
  EXPECT_EQ(store.layout().canonical_count(), canonical);
  EXPECT_EQ(store.values().count, store.layout().stored_count());
}

TEST_P(RandomModel, canonical_order_is_that_of_the_names) {
  const auto store = laid_out(shapes_, GetParam());
  std::vector<std::string> names;
  for (const int slot : store.layout().canonical_order()) {
    names.push_back(store.layout().slots()[static_cast<std::size_t>(slot)].name);
  }
  std::vector<std::string> expected;
  for (const auto& [name, shape] : shapes_) expected.push_back(name);
  EXPECT_EQ(names, expected);
}

TEST_P(RandomModel, hash_is_that_of_the_canonical_array_in_any_layout) {
  std::vector<float> canonical;
  for (const auto& [name, shape] : shapes_) {
    const auto values = values_of(name, shape);
    canonical.insert(canonical.end(), values.begin(), values.end());
  }
  for (unsigned layout = 0; layout < 5; ++layout) {
    EXPECT_EQ(laid_out(shapes_, GetParam() * 31 + layout).parameter_hash(), hash_floats(canonical)) << layout;
  }
}

TEST_P(RandomModel, values_come_back_and_gaps_stay_zero) {
  const auto store = laid_out(shapes_, GetParam());
  double sum = 0;
  double stored = 0;
  for (const auto& [name, shape] : shapes_) {
    EXPECT_EQ(store.read(name), values_of(name, shape)) << name;
    for (const float value : values_of(name, shape)) sum += std::abs(static_cast<double>(value));
  }
  for (const float value : store.values().as<float>()) stored += std::abs(static_cast<double>(value));
  EXPECT_NEAR(stored, sum, 1e-9 * sum) << "nothing lies in the gaps";
}

TEST_P(RandomModel, saved_state_is_the_same_from_any_layout_and_loads_into_any_other) {
  const auto saved = [&](unsigned layout) {
    StateMap map;
    StateWriter writer(map);
    laid_out(shapes_, layout).save(writer);
    return map;
  };
  const StateMap first = saved(GetParam());
  const StateMap second = saved(GetParam() + 1000);
  ASSERT_EQ(first.entries.size(), second.entries.size());
  for (const auto& [key, entry] : first.entries) {
    const auto other = second.entries.find(key);
    ASSERT_NE(other, second.entries.end()) << key;
    EXPECT_EQ(entry.bytes, other->second.bytes) << key;
    EXPECT_EQ(entry.shape, other->second.shape) << key;
  }
  auto target = laid_out(shapes_, GetParam() + 2000);
  const auto hash = target.parameter_hash();
  for (const auto& [name, shape] : shapes_) {
    target.write(name, std::vector<float>(static_cast<std::size_t>(shape.count()), -1.0F));
  }
  EXPECT_NE(target.parameter_hash(), hash);
  target.load(StateReader(first));
  EXPECT_EQ(target.parameter_hash(), hash);
}

TEST_P(RandomModel, one_lost_slot_in_the_saved_state_is_named) {
  StateMap map;
  StateWriter writer(map);
  auto store = laid_out(shapes_, GetParam());
  store.save(writer);
  for (const auto& [name, shape] : shapes_) {
    StateMap broken = map;
    std::erase_if(broken.entries, [&](const auto& entry) { return entry.first == "values/" + name; });
    ASSERT_EQ(broken.entries.size() + 1, map.entries.size()) << name;
    try {
      store.load(StateReader(broken));
      FAIL() << "loaded without " << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace lockstep
