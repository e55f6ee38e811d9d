// What every optimizer of the table must do: leave things alone when told to, remember through save and load,
// and work at any size.
#include <cmath>

#include "core/error.h"
#include "core/state.h"
#include "tests/trainer/optimizer_rig.h"

namespace lockstep::trainer {
namespace {

class EveryOptimizer : public ::testing::TestWithParam<std::string> {
 protected:
  static std::vector<SlotSpec> slots() {
    return {{"first.weight", Shape{3, 5}}, {"first.bias", Shape{3}, {}, false}, {"last.weight", Shape{67}}};
  }
  static std::uint64_t hash_after(OptimizerRig& rig, int from, int to) {
    for (int t = from; t < to; ++t) rig.step({.step = t, .rate = 0.05f}, t);
    return rig.store().parameter_hash();
  }
};

TEST_P(EveryOptimizer, skipped_step_changes_nothing_and_is_forgotten) {
  OptimizerRig skipped(slots(), GetParam()), straight(slots(), GetParam());
  const auto before = skipped.store().parameter_hash();
  skipped.step({.step = 0, .rate = 0.1f, .skip = 1}, 9);
  EXPECT_EQ(skipped.store().parameter_hash(), before);
  EXPECT_EQ(hash_after(skipped, 0, 3), hash_after(straight, 0, 3));
}

TEST_P(EveryOptimizer, rate_zero_moves_no_parameter) {
  OptimizerRig rig(slots(), GetParam());
  const auto before = rig.store().parameter_hash();
  rig.step({.step = 0, .rate = 0}, 1);
  EXPECT_EQ(rig.store().parameter_hash(), before);
}

TEST_P(EveryOptimizer, step_moves_every_slot_and_leaves_gradients_alone) {
  OptimizerRig rig(slots(), GetParam());
  std::vector<std::vector<float>> before;
  for (const Slot& slot : rig.layout().slots()) before.push_back(rig.value(slot.name));
  rig.step({.step = 0, .rate = 0.1f}, 1);
  const auto gradients = slot_hash(rig.layout(), rig.store().gradients());
  rig.step_as_is({.step = 1, .rate = 0.1f});
  EXPECT_EQ(slot_hash(rig.layout(), rig.store().gradients()), gradients);
  for (std::size_t s = 0; s < before.size(); ++s)
    EXPECT_NE(rig.value(rig.layout().slots()[s].name), before[s]);
}

TEST_P(EveryOptimizer, gaps_between_slots_stay_zero) {
  OptimizerRig rig(slots(), GetParam());
  hash_after(rig, 0, 3);
  const auto values = rig.store().values().as<float>();
  std::vector<bool> inside(values.size());
  for (const Slot& slot : rig.layout().slots())
    for (std::int64_t i = 0; i < slot.stored_count; ++i)
      inside[static_cast<std::size_t>(slot.offset + i)] = true;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!inside[i]) {
      EXPECT_EQ(values[i], 0) << i;
    }
}

TEST_P(EveryOptimizer, save_and_load_continue_bit_for_bit) {
  OptimizerRig straight(slots(), GetParam()), first(slots(), GetParam()), second(slots(), GetParam());
  const auto expected = hash_after(straight, 0, 6);
  hash_after(first, 0, 3);
  StateMap state;
  StateWriter writer(state);
  first.optimizer().save(writer);
  second.optimizer().load(StateReader(state));
  for (const Slot& slot : first.layout().slots()) second.set_value(slot.name, first.value(slot.name));
  EXPECT_EQ(hash_after(second, 3, 6), expected);
}

TEST_P(EveryOptimizer, forgetting_its_state_is_noticed) {
  OptimizerRig straight(slots(), GetParam()), first(slots(), GetParam()), second(slots(), GetParam());
  const auto expected = hash_after(straight, 0, 6);
  hash_after(first, 0, 3);
  for (const Slot& slot : first.layout().slots()) second.set_value(slot.name, first.value(slot.name));
  EXPECT_NE(hash_after(second, 3, 6), expected);
}

TEST_P(EveryOptimizer, state_of_another_model_is_refused) {
  OptimizerRig rig(slots(), GetParam()), other({{"first.weight", Shape{3, 4}}}, GetParam());
  StateMap state;
  StateWriter writer(state);
  other.optimizer().save(writer);
  try {
    rig.optimizer().load(StateReader(state));
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    EXPECT_NE(std::string(error.what()).find("first.weight"), std::string::npos) << error.what();
  }
}

TEST_P(EveryOptimizer, any_size_descends_on_a_parabola) {
  for (std::int64_t size : {0, 1, 2, 63, 64, 65, 10007}) {
    OptimizerRig rig({{"w", Shape{size}}}, GetParam());
    const auto loss = [&] {
      double sum = 0;
      for (float each : rig.value("w")) sum += static_cast<double>(each) * static_cast<double>(each);
      return sum;
    };
    const double before = loss();
    for (int t = 0; t < 10; ++t) {
      write_slot(rig.layout().slots()[0], rig.store().gradients(), rig.value("w"));
      rig.step_as_is({.step = t, .rate = 0.01f});
    }
    if (size > 0) {
      EXPECT_LT(loss(), before) << size;
    }
  }
}

TEST_P(EveryOptimizer, zero_gradients_keep_everything_finite) {
  OptimizerRig rig(slots(), GetParam());
  rig.set_value("first.weight", std::vector<float>(15, 0.0f));
  for (const Slot& slot : rig.layout().slots())
    write_slot(slot, rig.store().gradients(),
               std::vector<float>(static_cast<std::size_t>(slot.shape.count())));
  for (int t = 0; t < 3; ++t) rig.step_as_is({.step = t, .rate = 0.1f});
  for (const Slot& slot : rig.layout().slots())
    for (float each : rig.value(slot.name)) EXPECT_TRUE(std::isfinite(each));
}

TEST_P(EveryOptimizer, states_its_memory) {
  OptimizerRig rig(slots(), GetParam());
  StateMap state;
  StateWriter writer(state);
  rig.optimizer().save(writer);
  std::size_t bytes = 0;
  for (const auto& [name, entry] : state.entries) bytes += entry.bytes.size();
  EXPECT_EQ(static_cast<std::int64_t>(bytes),
            rig.optimizer().state_bytes_per_parameter() * rig.layout().canonical_count());
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& row : optimizers().rows()) all.emplace_back(row.name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(table, EveryOptimizer, ::testing::ValuesIn(names()),
                         [](const auto& each) { return each.param; });

TEST(Optimizers, unknown_name_is_refused_with_the_nearest) {
  try {
    static_cast<void>(optimizers().row("adamv"));
    FAIL() << "found";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(error.hint().find("adamw"), std::string::npos) << error.hint();
  }
}

}  // namespace
}  // namespace lockstep::trainer
