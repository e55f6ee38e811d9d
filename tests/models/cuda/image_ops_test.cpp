// Image operations of the CUDA backend beyond the shared cases: batch norm at many channel counts, fused and
// not, far from zero, with statistics shared over ranks; timed and repeatable choices of convolutions; plain
// loops where the library has none; the same bits again.
#include <barrier>
#include <thread>

#include "batch_norm_cases.h"
#include "core/vector/vector.h"
#include "gpu.h"
#include "op_cases.h"

namespace lockstep::models::testing {
namespace {

constexpr double k16Bits = 0.06;  // a few roundings of 2^-8; one may move a value across a ReLU's corner

class CudaBatchNorm : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(CudaBatchNorm, agrees_with_the_reference_at_any_channel_count) {
  LOCKSTEP_NEEDS_GPU();
  const Graph graph = plain(GetParam(), 5, 7);
  expect_agreement(graph, {.backend = "cuda"});
  expect_agreement(graph, {.backend = "cuda", .microbatches = 3});
  expect_agreement(graph, {.backend = "cuda", .mode = Mode::evaluate});
  expect_agreement(graph, {.backend = "cuda", .compute = Dtype::bf16}, k16Bits);
}

TEST_P(CudaBatchNorm, fused_with_residual_and_relu_agrees_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  for (const After& after :
       {After{false, true, false}, {true, true, false}, {true, true, true}, {true, false, false}}) {
    const Graph graph = followed(GetParam(), after);
    expect_agreement(graph, {.backend = "cuda"});
    expect_agreement(graph, {.backend = "cuda", .microbatches = 2, .reuse_memory = false});
    expect_agreement(graph, {.backend = "cuda", .fuse = false});
    expect_agreement(graph, {.backend = "cuda", .mode = Mode::evaluate});
    expect_agreement(graph, {.backend = "cuda", .compute = Dtype::f16}, k16Bits);
  }
}
INSTANTIATE_TEST_SUITE_P(channels, CudaBatchNorm, ::testing::Values(1, 3, 7, 16, 17, 64, 72, 130, 136, 192));

TEST(CudaBatchNormFusion, fuses_residual_and_relu) {
  LOCKSTEP_NEEDS_GPU();
  const auto ops = [](const After& after) {
    return run_backend(followed(8, after), {.backend = "cuda"}).ops;
  };
  EXPECT_NE(ops({true, true, false}).find("batch_norm+add+relu"), std::string::npos);
  EXPECT_NE(ops({false, true, false}).find("batch_norm+relu"), std::string::npos);
}

TEST(CudaBatchNormLarge, many_rows_agree_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  expect_agreement(plain(16, 64, 64, 8), {.backend = "cuda"}, 2e-5);
  expect_agreement(plain(3, 40, 41, 8), {.backend = "cuda"}, 2e-5);
}

TEST(CudaBatchNormLarge, a_mean_far_from_zero_costs_no_precision) {
  LOCKSTEP_NEEDS_GPU();
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        const int x = b.input({3, 16, 16}, Dtype::f32);
        b.predict(b.batch_norm(b.conv2d(x, "before", {.out_channels = 5, .kernel = {1, 1}}, {}), "op", {}));
        b.loss(MeanSquaredError{});
      },
      4);
  // At 100 deviations the convolution's own rounding is 1e-5 of a deviation; E[x^2] - E[x]^2 would lose 1e-3.
  const RunSettings far{.backend = "cuda", .offset = 100};
  const RunResult actual = run_backend(graph, far);
  const RunResult expected = run_reference(graph, far);
  EXPECT_LT(relative_error(actual.prediction, expected.prediction), 1e-4);
  EXPECT_LT(relative_error(actual.statistics.at("op.running_var"), expected.statistics.at("op.running_var")),
            1e-4);
}

/// Adds up over ranks on one GPU, by way of the host.
class Meeting {
 public:
  explicit Meeting(int ranks) : barrier_(ranks), parts_(static_cast<std::size_t>(ranks)) {}
  SumHook hook(std::size_t rank) {
    return [this, rank](FlatSpan span, Stream& stream) {
      stream.synchronize();
      std::vector<float>& mine = parts_[rank];
      mine.resize(static_cast<std::size_t>(span.count));
      copy_to_host(span, mine.data());
      barrier_.arrive_and_wait();
      std::vector<float> sum(mine.size(), 0.0F);
      for (const auto& part : parts_)
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
      barrier_.arrive_and_wait();
      copy_from_host(sum.data(), span);
    };
  }

 private:
  std::barrier<> barrier_;
  std::vector<std::vector<float>> parts_;
};

/// Every rank has its own samples.
std::vector<RunResult> run_ranks(const Graph& graph, std::string_view backend_name) {
  constexpr std::size_t kRanks = 2;
  Meeting meeting(kRanks);
  std::vector<RunResult> results(kRanks);
  std::vector<std::jthread> ranks;
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    ranks.emplace_back([&, rank] {
      const auto backend = make_backend(backend_name, {.sum = meeting.hook(rank), .ranks = kRanks});
      results[rank] = run_on(*backend, graph, {.microbatches = 2, .first = 10 * static_cast<int>(rank)});
    });
  }
  ranks.clear();
  return results;
}

TEST(CudaBatchNormSynchronised, agrees_with_the_reference_on_two_ranks) {
  LOCKSTEP_NEEDS_GPU();
  for (bool tail : {false, true}) {
    const Graph graph = synchronised(tail);
    const auto actual = run_ranks(graph, "cuda");
    const auto expected = run_ranks(graph, "reference");
    for (std::size_t rank = 0; rank < actual.size(); ++rank) expect_close(actual[rank], expected[rank], 2e-5);
  }
}

/// A small residual network: strides, shortcuts, gradients that add up.
Graph blocks() {
  return make_graph(
      [](GraphBuilder& b) {
        int x = image_behind_parameters(b, {16, 12, 12});
        for (const std::string name : {"a", "b"}) {
          int y = b.conv2d(x, name + "1", {.out_channels = 24, .kernel = {1, 1}, .bias = false}, {});
          y = b.apply(Relu{}, {b.batch_norm(y, name + "n1", {})}, name + "r1");
          y = b.conv2d(y, name + "2", {.out_channels = 16, .padding = {1, 1}, .bias = false}, {});
          y = b.apply(Add{}, {b.batch_norm(y, name + "n2", {}), x}, name + "add");
          x = b.apply(Relu{}, {y}, name + "r2");
        }
        b.predict(
            b.apply(GlobalAveragePool{}, {b.apply(MaxPool{{3, 3}, {2, 2}, {1, 1}}, {x}, "pool")}, "mean"));
        b.loss(MeanSquaredError{});
      },
      8);
}

RunResult run_blocks(const BackendOptions& options, int microbatches) {
  const auto backend = make_backend("cuda", options);
  return run_on(*backend, blocks(), {.microbatches = microbatches, .compute = options.compute});
}

TEST(CudaConvolutionChoice, timed_engines_agree_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  const RunResult expected = run_reference(blocks(), {.microbatches = 2});
  expect_close(run_blocks({.tune = true, .sum = {}}, 2), expected, 2e-5);
  expect_close(run_blocks({.compute = Dtype::bf16, .tune = true, .sum = {}}, 2), expected, k16Bits);
}

TEST(CudaConvolutionChoice, a_folded_first_convolution_agrees_with_the_reference) {
  LOCKSTEP_NEEDS_GPU();
  const auto convolution = [](std::int64_t kernel, Pair stride, std::int64_t padding) {
    return Conv2d{
        .out_channels = 16, .kernel = {kernel, kernel}, .stride = stride, .padding = {padding, padding}};
  };
  const std::vector<std::pair<std::int64_t, Conv2d>> firsts{{3, convolution(7, {2, 2}, 3)},
                                                            {1, convolution(5, {1, 1}, 2)},
                                                            {5, convolution(3, {2, 1}, 1)},
                                                            {3, convolution(4, {3, 4}, 0)},
                                                            {2, convolution(2, {3, 3}, 1)}};
  for (const auto& each : firsts) {
    const Graph graph = make_graph(
        [&](GraphBuilder& b) {
          const int x = b.input({each.first, 20, 22}, Dtype::f32);
          b.predict(b.apply(Relu{}, {b.conv2d(x, "op", each.second, {})}, "relu"));
          b.loss(MeanSquaredError{});
        },
        4);
    const RunResult expected = run_reference(graph, {.microbatches = 2});
    for (const bool tune : {false, true}) {
      const auto backend = make_backend("cuda", {.compute = Dtype::bf16, .tune = tune, .sum = {}});
      expect_close(run_on(*backend, graph, {.microbatches = 2, .compute = Dtype::bf16}), expected, k16Bits);
    }
  }
}

TEST(CudaConvolutionChoice, repeatable_runs_give_the_same_bits) {
  LOCKSTEP_NEEDS_GPU();
  for (const Dtype compute : {Dtype::f32, Dtype::bf16}) {
    const BackendOptions options{.compute = compute, .repeatable = true, .sum = {}};
    const RunResult once = run_blocks(options, 2);
    const RunResult again = run_blocks(options, 2);
    EXPECT_EQ(once.prediction, again.prediction);
    EXPECT_EQ(once.gradients, again.gradients);
    EXPECT_EQ(once.statistics, again.statistics);
  }
}

}  // namespace
}  // namespace lockstep::models::testing
