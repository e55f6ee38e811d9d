// Softmax cross-entropy of the CUDA backend where a row is long: whole packs and rests.
#include "gpu.h"
#include "wide_loss_cases.h"

namespace lockstep::models::testing {
namespace {

class CudaWideLoss : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(CudaWideLoss, agrees_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  expect_wide_loss({.backend = "cuda"}, GetParam(), 2e-5);
  expect_wide_loss({.backend = "cuda", .compute = Dtype::bf16}, GetParam(), 3e-2);
  expect_wide_loss({.backend = "cuda", .compute = Dtype::f16}, GetParam(), 1e-2);
}

INSTANTIATE_TEST_SUITE_P(classes, CudaWideLoss, ::testing::Values(2047, 2048, 2051, 8200, 50257));

}  // namespace
}  // namespace lockstep::models::testing
