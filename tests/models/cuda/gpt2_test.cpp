// A small GPT-2 with heads that cuDNN's fused attention takes and a vocabulary that is padded, in every
// precision against the reference in double; and the same bits again.
#include "../model_support.h"
#include "../twin.h"
#include "gpu.h"

namespace lockstep::models::testing {
namespace {

const Graph& small_gpt2() {
  static const Graph graph = graph_of(
      "gpt2", {{"layers", "2"}, {"heads", "2"}, {"width", "64"}, {"dropout", "0"}}, tokens(40, 150), 3);
  return graph;
}

TEST(Gpt2OnCuda, agrees_with_the_reference_in_every_precision) {
  LOCKSTEP_NEEDS_GPU();
  expect_agreement(small_gpt2(), {.backend = "cuda", .microbatches = 2, .ids = 150}, 5e-5);
  expect_agreement(small_gpt2(), {.backend = "cuda", .ids = 150, .tf32 = true}, 2e-2);
  expect_agreement(small_gpt2(), {.backend = "cuda", .microbatches = 2, .ids = 150, .compute = Dtype::bf16},
                   0.08);
  expect_agreement(small_gpt2(), {.backend = "cuda", .ids = 150, .compute = Dtype::f16}, 0.02);
}

TEST(Gpt2OnCuda, gives_the_same_bits_again) {
  LOCKSTEP_NEEDS_GPU();
  for (const Dtype compute : {Dtype::f32, Dtype::bf16}) {
    const RunSettings settings{.backend = "cuda", .ids = 150, .compute = compute};
    const RunResult first = run_backend(small_gpt2(), settings), second = run_backend(small_gpt2(), settings);
    EXPECT_EQ(first.losses, second.losses);
    EXPECT_EQ(first.gradients, second.gradients);
  }
}

TEST(Gpt2OnCuda, feed_forward_part_is_one_kernel) {
  LOCKSTEP_NEEDS_GPU();
  const RunResult result = run_backend(small_gpt2(), {.backend = "cuda", .ids = 150, .compute = Dtype::bf16});
  EXPECT_NE(result.ops.find("linear+gelu+linear+add"), std::string::npos) << result.ops;
}

}  // namespace
}  // namespace lockstep::models::testing
