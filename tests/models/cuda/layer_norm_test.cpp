// Layer norm of the CUDA backend beyond the shared cases: rows of every size that a warp holds, and of sizes
// that none does, so many that every warp has several in turn.
#include "gpu.h"
#include "layer_norm_cases.h"

namespace lockstep::models::testing {
namespace {

class CudaLayerNorm : public ::testing::TestWithParam<std::int64_t> {};

void expect_layer_norms(std::int64_t width, std::int64_t rows) {
  const Graph graph = layer_norms(width, rows);
  expect_agreement(graph, {.backend = "cuda"}, 2e-5);
  expect_agreement(graph, {.backend = "cuda", .compute = Dtype::bf16}, 3e-2);
  // Gradients of a mean over so many are too small for f16 without it.
  const auto scale = static_cast<float>(width * rows);
  expect_agreement(graph, {.backend = "cuda", .compute = Dtype::f16, .loss_scale = scale}, 1e-2);
}

TEST_P(CudaLayerNorm, agrees_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  for (const std::int64_t rows : {1, 37}) expect_layer_norms(GetParam(), rows);
}

INSTANTIATE_TEST_SUITE_P(widths, CudaLayerNorm,
                         ::testing::Values(8, 256, 264, 520, 768, 1000, 1001, 1024, 1280, 1536, 1600, 2048,
                                           2056));

TEST(CudaLayerNormOfManyRows, agrees_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  expect_layer_norms(264, 1131);
  expect_layer_norms(768, 1131);
  expect_layer_norms(2056, 1131);
}

}  // namespace
}  // namespace lockstep::models::testing
