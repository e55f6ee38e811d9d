// What a step decides from its sums: skipping, clipping, and how the loss scale of f16 moves.
#include "trainer/step_rules.h"

#include <gtest/gtest.h>

#include <limits>

namespace lockstep::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A step of a run with dynamic loss scaling whose summed gradient has this length.
void step(StepScalars& scalars, double length, float loss, const StepRule& rule) {
  open_step(scalars, {.step = scalars.step + 1, .rate = 0.1f, .mean = 0.25f});
  finish_step(scalars, length, {.loss = loss}, rule);
}

StepRule scaling(std::int32_t grow_after) { return {.scaling = {.dynamic = true, .grow_after = grow_after}}; }

TEST(StepRules, norm_and_loss_are_of_the_mean) {
  StepScalars scalars;
  step(scalars, 8, 6, {});
  EXPECT_EQ(scalars.gradient_norm, 2);
  EXPECT_EQ(scalars.loss, 1.5f);
  EXPECT_EQ(scalars.clip_factor, 1);
  EXPECT_EQ(scalars.skip, kSkipNone);
}

TEST(StepRules, clipping_bounds_the_norm_of_the_mean) {
  StepScalars scalars;
  step(scalars, 8, 6, {.clip_norm = 0.5});
  EXPECT_EQ(scalars.clip_factor, 0.25f);
}

TEST(StepRules, a_nonfinite_sum_skips_until_acknowledged) {
  StepScalars scalars;
  step(scalars, static_cast<double>(kInfinity), 6, {});
  EXPECT_EQ(scalars.skip, kSkipNonfinite);
  step(scalars, 1, 1, {});
  EXPECT_EQ(scalars.skip, kSkipNonfinite);
}

TEST(StepRules, a_nonfinite_loss_skips) {
  StepScalars scalars;
  step(scalars, 1, std::numeric_limits<float>::quiet_NaN(), {});
  EXPECT_EQ(scalars.skip, kSkipNonfinite);
}

TEST(StepRules, waits_of_a_step_add_up_and_the_next_begins_anew) {
  StepScalars scalars;
  open_step(scalars, {});
  scalars.wait_began_ns = 5'000'000'000;
  add_wait(scalars, 5'250'000'000);
  scalars.wait_began_ns = 6'000'000'000;
  add_wait(scalars, 6'500'000'000);
  EXPECT_FLOAT_EQ(scalars.waited_s, 0.75f);
  open_step(scalars, {});
  EXPECT_EQ(scalars.waited_s, 0);
}

TEST(LossScaling, gradients_are_unscaled_and_the_loss_is_not) {
  StepScalars scalars{.loss_scale = 1024};
  step(scalars, 8 * 1024, 6, scaling(10));
  EXPECT_EQ(scalars.gradient_norm, 2);
  EXPECT_EQ(scalars.loss, 1.5f);
}

TEST(LossScaling, overflow_skips_one_step_and_halves) {
  StepScalars scalars{.loss_scale = 1024};
  step(scalars, static_cast<double>(kInfinity), 6, scaling(10));
  EXPECT_EQ(scalars.skip, kSkipOverflow);
  EXPECT_EQ(scalars.loss_scale, 512);
  step(scalars, 512, 6, scaling(10));
  EXPECT_EQ(scalars.skip, kSkipNone);
  EXPECT_EQ(scalars.gradient_norm, 0.25f);
}

TEST(LossScaling, good_steps_double) {
  StepScalars scalars{.loss_scale = 1024};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(scalars.loss_scale, 1024);
    step(scalars, 1, 1, scaling(3));
  }
  EXPECT_EQ(scalars.loss_scale, 2048);
  step(scalars, static_cast<double>(kInfinity), 1, scaling(3));
  EXPECT_EQ(scalars.loss_scale, 1024);
  EXPECT_EQ(scalars.good_steps, 0);
}

TEST(LossScaling, an_infinite_loss_is_no_overflow_of_gradients) {
  StepScalars scalars{.loss_scale = 1024};
  step(scalars, static_cast<double>(kInfinity), kInfinity, scaling(3));
  EXPECT_EQ(scalars.skip, kSkipNonfinite);
}

TEST(LossScaling, at_the_least_scale_overflow_is_divergence) {
  StepScalars scalars{.loss_scale = 1};
  step(scalars, static_cast<double>(kInfinity), 1, scaling(3));
  EXPECT_EQ(scalars.skip, kSkipNonfinite);
}

}  // namespace
}  // namespace lockstep::trainer
