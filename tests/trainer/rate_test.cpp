// Learning rates: exact values at the corners, shapes between them, scaling with the global batch.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "trainer/rate_schedule.h"

namespace lockstep::trainer {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

RateSchedule schedule(const Pairs& settings, const std::string& shape, const Pairs& shape_settings,
                      std::int64_t steps, std::int64_t global_batch = 256) {
  const auto& row = rate_shapes().row(shape);
  return {Options::of(rate_settings(), settings), row.make(Options::of(row.settings, shape_settings)),
          global_batch, steps};
}

TEST(Rate, constant_stays_at_the_peak) {
  const auto rate = schedule({{"peak", "0.5"}}, "constant", {}, 10);
  for (std::int64_t step : {0, 1, 9, 10, 1000}) EXPECT_EQ(rate.at(step), 0.5f) << step;
}

TEST(Rate, warm_up_climbs_evenly_and_its_first_step_moves) {
  const auto rate = schedule({{"peak", "1"}, {"warmup_steps", "4"}}, "constant", {}, 10);
  EXPECT_FLOAT_EQ(rate.at(0), 0.25f);
  EXPECT_FLOAT_EQ(rate.at(1), 0.5f);
  EXPECT_FLOAT_EQ(rate.at(3), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(4), 1.0f);
}

TEST(Rate, warm_up_may_start_above_zero) {
  const auto rate =
      schedule({{"peak", "2"}, {"warmup_steps", "4"}, {"warmup_from", "0.5"}}, "constant", {}, 10);
  EXPECT_FLOAT_EQ(rate.at(0), 2 * (0.5f + 0.5f * 0.25f));
  EXPECT_FLOAT_EQ(rate.at(3), 2.0f);
}

TEST(Rate, cosine_falls_from_peak_to_final) {
  const auto rate = schedule({{"peak", "1"}}, "cosine", {{"final", "0.1"}}, 100);
  EXPECT_FLOAT_EQ(rate.at(0), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(50), 0.55f);
  EXPECT_FLOAT_EQ(rate.at(100), 0.1f);
  for (std::int64_t step : {13, 25, 77}) {
    const double angle = std::numbers::pi * static_cast<double>(step) / 100;
    EXPECT_NEAR(static_cast<double>(rate.at(step)), 0.1 + 0.45 * (1 + std::cos(angle)), 1e-7);
  }
}

TEST(Rate, cosine_counts_from_the_end_of_warm_up) {
  const auto rate = schedule({{"peak", "1"}, {"warmup_steps", "20"}}, "cosine", {}, 120);
  EXPECT_FLOAT_EQ(rate.at(20), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(70), 0.5f);
  EXPECT_NEAR(rate.at(120), 0.0f, 1e-7f);
}

TEST(Rate, linear_is_a_straight_line) {
  const auto rate = schedule({{"peak", "1"}}, "linear", {{"final", "0.2"}}, 10);
  for (int step = 0; step <= 10; ++step)
    EXPECT_NEAR(rate.at(step), 1.0f - 0.08f * static_cast<float>(step), 1e-6f);
}

TEST(Rate, step_drops_at_the_given_parts) {
  const auto rate = schedule({{"peak", "1"}}, "step", {{"at", "[0.5, 0.75]"}, {"factor", "0.1"}}, 100);
  EXPECT_FLOAT_EQ(rate.at(0), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(49), 1.0f);
  EXPECT_FLOAT_EQ(rate.at(50), 0.1f);
  EXPECT_FLOAT_EQ(rate.at(74), 0.1f);
  EXPECT_FLOAT_EQ(rate.at(75), 0.01f);
  EXPECT_FLOAT_EQ(rate.at(99), 0.01f);
}

TEST(Rate, shapes_never_rise_after_warm_up_and_never_turn_negative) {
  for (const auto& row : rate_shapes().rows()) {
    const auto rate = schedule({{"peak", "0.3"}, {"warmup_steps", "7"}}, std::string(row.name), {}, 97);
    for (std::int64_t step = 7; step < 97; ++step) {
      EXPECT_LE(rate.at(step + 1), rate.at(step) * (1 + 1e-6f)) << row.name << " " << step;
      EXPECT_GE(rate.at(step + 1), 0) << row.name << " " << step;
    }
  }
}

TEST(Rate, linear_scaling_is_in_proportion_to_the_global_batch) {
  const Pairs settings{{"peak", "0.1"}, {"scaling", "linear"}, {"reference_batch", "256"}};
  EXPECT_DOUBLE_EQ(schedule(settings, "constant", {}, 10, 256).peak(), 0.1);
  EXPECT_DOUBLE_EQ(schedule(settings, "constant", {}, 10, 8192).peak(), 3.2);
  EXPECT_DOUBLE_EQ(schedule(settings, "constant", {}, 10, 64).peak(), 0.025);
}

TEST(Rate, square_root_scaling_grows_with_the_root) {
  const Pairs settings{{"peak", "0.1"}, {"scaling", "sqrt"}, {"reference_batch", "64"}};
  EXPECT_DOUBLE_EQ(schedule(settings, "constant", {}, 10, 256).peak(), 0.2);
  EXPECT_DOUBLE_EQ(schedule(settings, "constant", {}, 10, 64).peak(), 0.1);
}

TEST(Rate, no_scaling_ignores_the_batch) {
  EXPECT_DOUBLE_EQ(schedule({{"peak", "0.1"}}, "constant", {}, 10, 4096).peak(), 0.1);
}

void expect_refused(const Pairs& settings, std::int64_t steps, const std::string& part) {
  try {
    static_cast<void>(schedule(settings, "constant", {}, steps));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Rate, warm_up_longer_than_training_is_refused) {
  expect_refused({{"warmup_steps", "11"}}, 10, "warmup_steps");
}
TEST(Rate, peak_must_be_positive) { expect_refused({{"peak", "0"}}, 10, "peak"); }
TEST(Rate, unknown_scaling_is_refused) { expect_refused({{"scaling", "quadratic"}}, 10, "scaling"); }

TEST(Rate, drops_at_steps_or_epochs_instead_of_parts_are_refused) {
  for (const char* at : {"[50, 75]", "[0.5, 1.5]", "[-0.1]", "2"}) {
    try {
      static_cast<void>(schedule({}, "step", {{"at", at}}, 100));
      ADD_FAILURE() << "accepted " << at;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_NE(std::string(error.what()).find("must be in [0,1]"), std::string::npos) << error.what();
    }
  }
  EXPECT_FLOAT_EQ(schedule({{"peak", "1"}}, "step", {{"at", "[0, 1]"}}, 4).at(3), 0.1F) << "both ends count";
  EXPECT_FLOAT_EQ(schedule({{"peak", "1"}}, "step", {{"at", "[]"}}, 4).at(3), 1) << "no drop at all";
}

TEST(Rate, one_step_of_training_has_a_rate) {
  for (const auto& row : rate_shapes().rows())
    EXPECT_GT(schedule({{"peak", "1"}}, std::string(row.name), {}, 1).at(0), 0) << row.name;
}

}  // namespace
}  // namespace lockstep::trainer
