// Attention with dropout in 16 bits where its masks are drawn in turns, a few samples at a time, beside f32's
// products, which draw where they are used.
#include "gpu.h"
#include "tests/models/twin.h"

namespace lockstep::models::testing {
namespace {

/// 32 MiB of masks a sample, so the samples are worked on 8 at a time, or one by one where nothing else
/// divides them.
Graph attention(std::int64_t samples, float dropout) {
  return make_graph(
      [=](GraphBuilder& b) {
        const int x = b.layer_norm(sequence_behind_parameters(b, {1024, 3 * 16 * 8}), "norm");
        b.predict(b.apply(CausalAttention{16, dropout}, {x}, "op"));
        b.loss(MeanSquaredError{});
      },
      samples);
}

class DroppedAttention : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(DroppedAttention, in_turns_agrees_with_products) {
  LOCKSTEP_NEEDS_GPU();
  const Graph graph = attention(GetParam(), 0.1F);
  RunSettings settings{.backend = "cuda", .rows = GetParam()};
  const RunResult products = run_backend(graph, settings);
  const RunResult others = run_backend(attention(GetParam(), 0.2F), settings);
  settings.compute = Dtype::bf16;
  const RunResult fused = run_backend(graph, settings);
  expect_close(fused, products, 6e-2);
  EXPECT_GT(relative_error(others.prediction, products.prediction), 0.1) << "other masks must end elsewhere";
}

INSTANTIATE_TEST_SUITE_P(samples, DroppedAttention, ::testing::Values(3, 16, 17));

}  // namespace
}  // namespace lockstep::models::testing
