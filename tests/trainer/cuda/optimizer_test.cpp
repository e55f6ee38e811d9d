// Every optimizer on the GPU beside itself on the host: the same equations, the same numbers.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/backends.h"
#include "core/vector/vector.h"
#include "tests/support/gpu.h"
#include "tests/trainer/optimizer_rig.h"

namespace lockstep::trainer {
namespace {

struct Case {
  std::string optimizer;
  Pairs settings;
};

/// Slots around the sizes of packs, alignments and tiles (8192 elements).
std::vector<SlotSpec> slots() {
  return {{"a.weight", Shape{3, 5}}, {"a.bias", Shape{3}, {}, false}, {"b.weight", Shape{129, 257}},
          {"c.weight", Shape{8192}}, {"d.weight", Shape{1}},          {"e.bias", Shape{8193}, {}, false}};
}

/// Largest difference of a slot's values relative to its largest value.
double difference(const OptimizerRig& host, const OptimizerRig& gpu) {
  double worst = 0;
  for (const Slot& slot : host.layout().slots()) {
    const std::vector<float> a = host.value(slot.name), b = gpu.value(slot.name);
    float largest = 0, apart = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(a[i]));
      apart = std::isfinite(b[i]) ? std::max(apart, std::abs(a[i] - b[i]))
                                  : std::numeric_limits<float>::infinity();
    }
    worst = std::max(worst, static_cast<double>(apart) / static_cast<double>(largest));
  }
  return worst;
}

StepScalars scalars_of(int t) {
  return {.step = t,
          .rate = 0.1f / static_cast<float>(t + 1),
          .gradient_scale = 0.25f,
          .clip_factor = t == 1 ? 0.5f : 1.0f};
}

class GpuOptimizer : public ::testing::TestWithParam<Case> {};

TEST_P(GpuOptimizer, five_steps_agree_with_the_host) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  OptimizerRig host(slots(), GetParam().optimizer, GetParam().settings);
  OptimizerRig gpu(slots(), GetParam().optimizer, GetParam().settings, kGpu);
  for (int t = 0; t < 5; ++t) {
    host.step(scalars_of(t), t);
    gpu.step(scalars_of(t), t);
    ASSERT_LT(difference(host, gpu), 1e-6) << "after step " << t;
  }
}

TEST_P(GpuOptimizer, working_copy_is_the_rounded_values) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) {
    OptimizerRig gpu(slots(), GetParam().optimizer, GetParam().settings, kGpu);
    const FlatArray working = make_array(kGpu, dtype, gpu.store().values().count);
    const FlatArray expected = make_array(kGpu, dtype, gpu.store().values().count);
    gpu.step(scalars_of(0), 1, working.span);
    const auto stream = make_stream(kGpu);
    vector::cast(gpu.store().values(), expected.span, *stream);
    stream->synchronize();
    std::vector<std::uint16_t> got(static_cast<std::size_t>(working.span.count)), want(got.size());
    copy_to_host(working.span, got.data());
    copy_to_host(expected.span, want.data());
    EXPECT_EQ(got, want) << name_of(dtype);
  }
}

TEST_P(GpuOptimizer, skipped_step_changes_nothing) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  OptimizerRig gpu(slots(), GetParam().optimizer, GetParam().settings, kGpu);
  OptimizerRig straight(slots(), GetParam().optimizer, GetParam().settings, kGpu);
  StepScalars skipped = scalars_of(0);
  skipped.skip = kSkipNonfinite;
  gpu.step(skipped, 9);
  EXPECT_EQ(gpu.store().parameter_hash(), straight.store().parameter_hash());
  gpu.step(scalars_of(0), 1);
  straight.step(scalars_of(0), 1);
  EXPECT_EQ(gpu.store().parameter_hash(), straight.store().parameter_hash());
}

TEST_P(GpuOptimizer, bits_repeat_and_state_moves_between_devices) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  OptimizerRig one(slots(), GetParam().optimizer, GetParam().settings, kGpu);
  OptimizerRig two(slots(), GetParam().optimizer, GetParam().settings, kGpu);
  OptimizerRig host(slots(), GetParam().optimizer, GetParam().settings);
  for (int t = 0; t < 3; ++t) {
    one.step(scalars_of(t), t);
    two.step(scalars_of(t), t);
  }
  EXPECT_EQ(one.store().parameter_hash(), two.store().parameter_hash());
  StateMap state;
  StateWriter writer(state);
  one.optimizer().save(writer);
  host.optimizer().load(StateReader(state));
  for (const Slot& slot : one.layout().slots()) host.set_value(slot.name, one.value(slot.name));
  one.step(scalars_of(3), 3);
  host.step(scalars_of(3), 3);
  EXPECT_LT(difference(host, one), 1e-6);
}

std::vector<Case> cases() {
  return {{"sgd", {}},
          {"sgd", {{"nesterov", "true"}, {"weight_decay", "0.3"}}},
          {"sgd", {{"weight_decay", "0.3"}, {"decoupled", "true"}}},
          {"adamw", {{"weight_decay", "0.5"}}},
          {"adamw", {{"decoupled", "false"}, {"weight_decay", "0.5"}}},
          {"lars", {{"weight_decay", "0.2"}, {"trust", "0.1"}}},
          {"lamb", {{"weight_decay", "0.1"}}},
          {"onebit_adam", {}}};
}
INSTANTIATE_TEST_SUITE_P(table, GpuOptimizer, ::testing::ValuesIn(cases()),
                         [](const auto& each) { return each.param.optimizer + std::to_string(each.index); });

TEST(GpuOptimizerMomentum, that_comes_with_gradients_is_taken_as_on_the_host) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  for (const std::string name : {"sgd", "adamw", "onebit_adam"}) {
    const Pairs settings{{"weight_decay", "0.3"}};
    OptimizerRig host(slots(), name, settings), gpu(slots(), name, settings, kGpu);
    OptimizerRig own(slots(), name, settings);
    host.optimizer().take_momentum(name == "sgd" ? 0 : 2, name == "adamw");
    gpu.optimizer().take_momentum(name == "sgd" ? 0 : 2, name == "adamw");
    const int steps = name == "adamw" ? 24 : 5;  // the first 16 that could be held are exact ones
    for (int t = 0; t < steps; ++t) {
      for (OptimizerRig* rig : {&host, &gpu, &own}) rig->step(scalars_of(t), t);
      ASSERT_LT(difference(host, gpu), 1e-5) << name << " after step " << t;
    }
    EXPECT_GT(difference(host, own), 1e-3) << name << ": its own momentum must end elsewhere";
  }
}

TEST(GpuOptimizerCases, name_every_optimizer_of_the_table) {
  for (const auto& row : optimizers().rows()) {
    const auto all = cases();
    EXPECT_TRUE(std::ranges::any_of(all, [&](const Case& each) { return each.optimizer == row.name; }))
        << row.name;
  }
}

}  // namespace
}  // namespace lockstep::trainer
