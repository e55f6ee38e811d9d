// Every operation of the CUDA backend against the reference in double: forward, the gradient of its input
// (seen through a layer before it), the gradients of its parameters, over one and over several microbatches,
// fused and one by one, in f32, bf16 and f16.
#include "gpu.h"
#include "op_cases.h"

namespace lockstep::models::testing {
namespace {

/// f16 keeps 11 significant bits, bf16 8; a rounding may still move a maximum to its neighbour.
double f16_tolerance(const OpCase& c) { return bf16_tolerance(c) / 3; }

class CudaOps : public ::testing::TestWithParam<OpCase> {};

TEST_P(CudaOps, agree_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  const OpCase& c = GetParam();
  const Graph graph = make_graph(c.build, c.microbatch);
  expect_agreement(graph, {.backend = "cuda"}, c.tolerance);
  expect_agreement(graph, {.backend = "cuda", .microbatches = 3, .fuse = false}, c.tolerance);
  expect_agreement(graph, {.backend = "cuda", .mode = Mode::evaluate, .reuse_memory = false}, c.tolerance);
  expect_agreement(graph, {.backend = "cuda", .rows = 1}, c.tolerance);
  expect_agreement(graph, {.backend = "cuda", .rows = 2, .losses_only = true}, c.tolerance);
}

TEST_P(CudaOps, agree_with_the_reference_in_16_bits) {
  LOCKSTEP_NEEDS_GPU();
  const OpCase& c = GetParam();
  const Graph graph = make_graph(c.build, c.microbatch);
  expect_agreement(graph, {.backend = "cuda", .compute = Dtype::bf16}, bf16_tolerance(c));
  expect_agreement(graph, {.backend = "cuda", .microbatches = 3, .fuse = false, .compute = Dtype::bf16},
                   bf16_tolerance(c));
  expect_agreement(graph, {.backend = "cuda", .microbatches = 2, .compute = Dtype::f16}, f16_tolerance(c));
}

INSTANTIATE_TEST_SUITE_P(convolution, CudaOps, ::testing::ValuesIn(convolution_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(activation, CudaOps, ::testing::ValuesIn(activation_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(pooling, CudaOps, ::testing::ValuesIn(pooling_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(moving, CudaOps, ::testing::ValuesIn(moving_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(loss, CudaOps, ::testing::ValuesIn(loss_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(sequence, CudaOps, ::testing::ValuesIn(sequence_cases()), name_of_case);

}  // namespace
}  // namespace lockstep::models::testing
