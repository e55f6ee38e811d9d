// Softmax cross-entropy of the CPU backend where a row is long: whole packs and rests.
#include "wide_loss_cases.h"

#include <gtest/gtest.h>

#include "needs_cpu_backend.h"

namespace lockstep::models::testing {
namespace {

class CpuWideLoss : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(CpuWideLoss, agrees_with_the_reference) { expect_wide_loss({.backend = "cpu"}, GetParam(), 2e-5); }

TEST_P(CpuWideLoss, agrees_with_the_reference_in_bf16) {
  LOCKSTEP_NEEDS_BF16();
  expect_wide_loss({.backend = "cpu", .compute = Dtype::bf16}, GetParam(), 3e-2);
}

INSTANTIATE_TEST_SUITE_P(classes, CpuWideLoss, ::testing::Values(2051, 8200));

}  // namespace
}  // namespace lockstep::models::testing
