// Every model on the CPU backend: loss and all gradients against the reference backend, in f32 and bf16; the
// same bits again; hashes that do not know the backend; forward that does not know the number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "needs_cpu_backend.h"
#include "train_once.h"

namespace lockstep::models {
namespace {

class EveryModelOnCpu : public testing::TestWithParam<std::string_view> {};

TEST_P(EveryModelOnCpu, agrees_with_the_reference) {
  for (const Case& each : cases_of(GetParam()))
    expect_same_training(train_once({}, GetParam(), each),
                         train_once({.backend = "reference"}, GetParam(), each));
}

TEST_P(EveryModelOnCpu, in_bf16_points_where_f32_points) {
  LOCKSTEP_NEEDS_BF16();
  for (const Case& each : cases_of(GetParam()))
    expect_same_direction(train_once({.compute = Dtype::bf16}, GetParam(), each),
                          train_once({}, GetParam(), each));
}

TEST_P(EveryModelOnCpu, gives_the_same_bits_again) {
  const Case each = cases_of(GetParam()).front();
  const Outcome first = train_once({}, GetParam(), each), second = train_once({}, GetParam(), each);
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.gradients, second.gradients);
}

TEST_P(EveryModelOnCpu, starts_with_the_hash_that_the_reference_starts_with) {
  for (const Case& each : cases_of(GetParam())) {
    const Outcome cpu = train_once({}, GetParam(), each);
    const Outcome reference = train_once({.backend = "reference"}, GetParam(), each);
    EXPECT_EQ(cpu.parameter_hash, reference.parameter_hash) << "hashes are over the canonical form";
    EXPECT_EQ(cpu.state_hash, reference.state_hash);
  }
}

TEST_P(EveryModelOnCpu, two_threads_change_the_result_by_rounding_at_most) {
  for (const Case& each : cases_of(GetParam())) {
    const Outcome one = train_once({}, GetParam(), each), two = train_once({.threads = 2}, GetParam(), each);
    double largest = 1e-3;
    for (const float score : one.prediction)
      largest = std::max(largest, std::abs(static_cast<double>(score)));
    for (std::size_t i = 0; i < one.prediction.size(); ++i)
      ASSERT_NEAR(two.prediction[i], one.prediction[i], 1e-4 * largest);
    EXPECT_NEAR(two.loss, one.loss, 1e-4 * std::abs(one.loss));
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryModelOnCpu, testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace lockstep::models
