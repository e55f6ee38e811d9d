// 1-bit Adam when its compressor loses nothing is Adam with a frozen second moment, bit for bit. Signs with a
// block's mean magnitude lose nothing where all values of a block have one magnitude of few bits: so
// gradients here are +-c, and c depends on rank and step alone.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/exchange.h"
#include "comm/worlds.h"
#include "tests/trainer/optimizer_rig.h"

namespace lockstep::trainer {
namespace {

constexpr int kSteps = 6;
constexpr int kFreeze = 2;
constexpr float kBeta1 = 0.5f, kBeta2 = 0.75f, kEpsilon = 0.125f, kDecay = 0.25f, kRate = 0.0625f;

/// Element i of rank's gradient in a step.
using Gradient = float (*)(int rank, int step, std::size_t i);

float equal_magnitudes(int rank, int step, std::size_t i) {
  const float magnitude = static_cast<float>(4 + 4 * ((rank + step) % 2));
  const bool negative = (i * 7 % 5 < 2) != (step == 3);
  return negative ? -magnitude : magnitude;
}
float mixed_magnitudes(int rank, int step, std::size_t i) {
  return equal_magnitudes(rank, step, i) * (i % 3 == 0 ? 2.0f : 1.0f);
}

std::vector<SlotSpec> slots() { return {{"w", {64, 64}}, {"b", {64}, {}, false}}; }

struct End {
  std::vector<float> weights, biases;
  double kept = 0;  ///< largest residual of any rank
};

/// A training of `ranks` ranks by compressor and optimizer.
End one_bit(int ranks, Gradient gradient) {
  End end;
  comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
    OptimizerRig rig(slots(), "onebit_adam",
                     {{"beta1", "0.5"}, {"beta2", "0.75"}, {"epsilon", "0.125"}, {"weight_decay", "0.25"}});
    const auto ring = std::shared_ptr<comm::Schedule>(comm::schedule_called("ring"));
    const auto collectives = comm::make_collectives(world.transport(60), ring);
    comm::Control control(collectives->duplicate());
    comm::ExchangeOptions options;
    options.compression = {.name = "onebit_adam", .momentum = kBeta1, .exact_steps = kFreeze};
    const auto exchange = comm::make_exchange(rig.layout(), *collectives, options);
    rig.optimizer().take_momentum(exchange->exact_steps(), false);
    const auto compute = make_stream(Device{});
    const float mean = 1.0f / static_cast<float>(ranks);
    const std::int32_t accepted = 0;
    for (int step = 0; step < kSteps; ++step) {
      for (const Slot& slot : rig.layout().slots()) {
        std::vector<float> own(static_cast<std::size_t>(slot.shape.count()));
        for (std::size_t i = 0; i < own.size(); ++i) own[i] = gradient(world.rank(), step, i);
        write_slot(slot, rig.store().gradients(), own);
      }
      exchange->begin(rig.store().gradients(), {.step = step, .rate = kRate, .scale = mean});
      exchange->complete(2, compute->record());
      exchange->finish(*compute);
      exchange->settle(&accepted, *compute);
      compute->synchronize();
      rig.step_as_is({.step = step, .rate = kRate, .gradient_scale = mean});
    }
    StateMap map;
    StateWriter writer(map);
    exchange->save(writer);
    double kept = 0;
    for (float x : StateReader(map).scope("residual").floats("w", {64, 64}))
      kept = std::max(kept, std::abs(static_cast<double>(x)));
    kept = control.maximum(kept);
    if (world.rank() == 0) end = {rig.value("w"), rig.value("b"), kept};
  });
  return end;
}

/// Adam without bias correction, whose second moment stands still after `freeze` steps.
std::vector<float> frozen_adam(const std::string& slot, int ranks, Gradient gradient, int freeze) {
  std::vector<float> values = OptimizerRig(slots(), "adamw").value(slot);
  const float decay = slot == "w" ? kDecay : 0.0f;
  for (std::size_t i = 0; i < values.size(); ++i) {
    float first = 0, second = 0;
    for (int step = 0; step < kSteps; ++step) {
      float sum = 0;
      for (int rank = 0; rank < ranks; ++rank) sum += gradient(rank, step, i);
      const float g = sum / static_cast<float>(ranks);
      first = kBeta1 * first + (1 - kBeta1) * g;
      if (step < freeze) second = kBeta2 * second + (1 - kBeta2) * (g * g);
      values[i] -= kRate * (first / (std::sqrt(second) + kEpsilon) + decay * values[i]);
    }
  }
  return values;
}

TEST(OneBitAdam, with_a_lossless_code_is_adam_with_a_frozen_second_moment) {
  for (const int ranks : {1, 2, 4}) {
    const End end = one_bit(ranks, equal_magnitudes);
    EXPECT_EQ(end.kept, 0) << "the code was not lossless at " << ranks << " ranks";
    EXPECT_EQ(end.weights, frozen_adam("w", ranks, equal_magnitudes, kFreeze)) << ranks;
    EXPECT_EQ(end.biases, frozen_adam("b", ranks, equal_magnitudes, kFreeze)) << ranks;
  }
}

TEST(OneBitAdam, a_lossy_code_ends_elsewhere) {  // negative control of the law above
  const End end = one_bit(2, mixed_magnitudes);
  EXPECT_GT(end.kept, 0);
  EXPECT_NE(end.weights, frozen_adam("w", 2, mixed_magnitudes, kFreeze));
  EXPECT_EQ(end.biases, frozen_adam("b", 2, mixed_magnitudes, kFreeze)) << "a bias is summed exactly";
}

TEST(OneBitAdam, a_moving_second_moment_ends_elsewhere) {  // negative control: freezing matters
  const End end = one_bit(2, equal_magnitudes);
  for (const int freeze : {kFreeze - 1, kFreeze + 1, kSteps})
    EXPECT_NE(end.weights, frozen_adam("w", 2, equal_magnitudes, freeze)) << freeze;
}

TEST(OneBitAdam, freezes_after_a_fifth_of_the_training_but_never_before_a_step) {
  const OptimizerRig rig(slots(), "onebit_adam");
  comm::run_ranks_as_threads(3, [&](comm::World& world) {
    const auto ring = std::shared_ptr<comm::Schedule>(comm::schedule_called("ring"));
    const auto collectives = comm::make_collectives(world.transport(60), ring);
    for (const auto& [steps, exact] : {std::pair{100, 20}, {9, 1}, {4, 1}, {1, 1}}) {
      comm::ExchangeOptions options;
      options.compression = {.name = "onebit_adam", .exact_steps = comm::kExactStart, .steps = steps};
      EXPECT_EQ(comm::make_exchange(rig.layout(), *collectives, options)->exact_steps(), exact) << steps;
    }
  });
}

}  // namespace
}  // namespace lockstep::trainer
