// Layer norm of the CPU backend beyond the shared cases: many rows, narrow and wide, whole vectors and rests.
#include "layer_norm_cases.h"

#include <gtest/gtest.h>

#include "needs_cpu_backend.h"

namespace lockstep::models::testing {
namespace {

class CpuLayerNorm : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(CpuLayerNorm, agrees_with_the_reference_at_few_and_many_rows) {
  for (const std::int64_t rows : {1, 33}) {
    const Graph graph = layer_norms(GetParam(), rows);
    expect_agreement(graph, {}, 2e-5);
    expect_agreement(graph, {.threads = 3}, 2e-5);
  }
}

TEST_P(CpuLayerNorm, agrees_with_the_reference_in_bf16) {
  LOCKSTEP_NEEDS_BF16();
  for (const std::int64_t rows : {1, 33})
    expect_agreement(layer_norms(GetParam(), rows), {.compute = Dtype::bf16}, 3e-2);
}

INSTANTIATE_TEST_SUITE_P(widths, CpuLayerNorm, ::testing::Values(8, 264, 768, 1001));

}  // namespace
}  // namespace lockstep::models::testing
