// Layer norm of the CUDA backend beyond the shared cases: rows of every size that a warp holds, and of sizes
// that none does, so many that every warp has several in turn.
#include "gpu.h"
#include "layer_norm_cases.h"

namespace lockstep::models::testing {
namespace {

class CudaLayerNorm : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(CudaLayerNorm, agrees_with_the_reference_at_few_and_many_rows) {
  LOCKSTEP_NEEDS_GPU();
  for (const std::int64_t rows : {1, 528, 1131}) {
    const Graph graph = layer_norms(GetParam(), rows);
    expect_agreement(graph, {.backend = "cuda"}, 2e-5);
    expect_agreement(graph, {.backend = "cuda", .compute = Dtype::bf16}, 3e-2);
    expect_agreement(graph, {.backend = "cuda", .compute = Dtype::f16}, 1e-2);
  }
}

INSTANTIATE_TEST_SUITE_P(widths, CudaLayerNorm,
                         ::testing::Values(8, 256, 264, 520, 768, 1000, 1001, 1024, 1280, 1536, 1600, 2048,
                                           2056));

}  // namespace
}  // namespace lockstep::models::testing
