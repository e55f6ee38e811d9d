// Batch norm on the CPU backend, alone and fused with a residual and a ReLU: gradients, statistics, running
// values, large means, and two ranks that share statistics.
#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "batch_norm_cases.h"
#include "core/stream.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models::testing {
namespace {

class CpuBatchNorm : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(CpuBatchNorm, agrees_with_the_reference_at_any_channel_count) {
  const Graph graph = plain(GetParam(), 5, 7);
  expect_agreement(graph, {});
  expect_agreement(graph, {.microbatches = 3});
  expect_agreement(graph, {.mode = Mode::evaluate});
  expect_agreement(graph, {.threads = 2});
}

TEST_P(CpuBatchNorm, fused_with_residual_and_relu_agrees_with_the_reference) {
  for (const After& after :
       {After{false, true, false}, {true, true, false}, {true, true, true}, {true, false, false}}) {
    const Graph graph = followed(GetParam(), after);
    expect_agreement(graph, {});
    expect_agreement(graph, {.microbatches = 2, .reuse_memory = false});
    expect_agreement(graph, {.fuse = false});
    expect_agreement(graph, {.mode = Mode::evaluate});
  }
}
INSTANTIATE_TEST_SUITE_P(channels, CpuBatchNorm, ::testing::Values(1, 3, 7, 16, 17, 64, 130));

TEST(CpuBatchNormFusion, fuses_residual_and_relu) {
  EXPECT_NE(run_backend(followed(8, {true, true, false}), {}).ops.find("batch_norm+add+relu"),
            std::string::npos);
  EXPECT_NE(run_backend(followed(8, {false, true, false}), {}).ops.find("batch_norm+relu"),
            std::string::npos);
}

TEST(CpuBatchNormRows, rows_of_features_agree_with_the_reference) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        b.predict(b.batch_norm(sequence_behind_parameters(b, {19}), "op", {.epsilon = 1e-2F}));
        b.loss(MeanSquaredError{});
      },
      7);
  expect_agreement(graph, {.microbatches = 2});
}

TEST(CpuBatchNormLarge, many_rows_agree_with_the_reference) {
  expect_agreement(plain(16, 32, 32, 8), {}, 2e-5);
}

TEST(CpuBatchNormLarge, a_mean_far_from_zero_costs_no_precision) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        const int x = b.input({3, 16, 16}, Dtype::f32);
        b.predict(b.batch_norm(b.conv2d(x, "before", {.out_channels = 5, .kernel = {1, 1}}, {}), "op", {}));
        b.loss(MeanSquaredError{});
      },
      4);
  // At 100 deviations the convolution's own rounding is 1e-5 of a deviation; E[x^2] - E[x]^2 would lose 1e-3.
  const RunSettings far{.offset = 100};
  const RunResult actual = run_backend(graph, far);
  const RunResult expected = run_reference(graph, far);
  EXPECT_LT(relative_error(actual.prediction, expected.prediction), 1e-4);
  EXPECT_LT(relative_error(actual.statistics.at("op.running_var"), expected.statistics.at("op.running_var")),
            1e-4);
}

/// Adds up over ranks that run in lockstep, as an all-reduce would.
class Meeting {
 public:
  explicit Meeting(int ranks) : barrier_(ranks), ranks_(ranks) {}
  SumHook hook(int rank) {
    return [this, rank](FlatSpan span, Stream& stream) {
      stream.host([this, rank, span] {
        const auto mine = span.as<float>();
        if (rank == 0) sum_.assign(mine.size(), 0);
        barrier_.arrive_and_wait();
        for (int turn = 0; turn < ranks_; ++turn) {
          if (turn == rank)
            for (std::size_t i = 0; i < mine.size(); ++i) sum_[i] += mine[i];
          barrier_.arrive_and_wait();
        }
        std::copy(sum_.begin(), sum_.end(), mine.begin());
        barrier_.arrive_and_wait();
      });
    };
  }

 private:
  std::barrier<> barrier_;
  int ranks_;
  std::vector<float> sum_;
};

/// Every rank has its own samples.
std::vector<RunResult> run_ranks(const Graph& graph, std::string_view backend_name) {
  constexpr int kRanks = 2;
  Meeting meeting(kRanks);
  std::vector<RunResult> results(kRanks);
  std::vector<std::jthread> ranks;
  for (int rank = 0; rank < kRanks; ++rank) {
    ranks.emplace_back([&, rank] {
      const auto backend = make_backend(
          backend_name, {.compute = Dtype::f32, .threads = 1, .sum = meeting.hook(rank), .ranks = kRanks});
      results[static_cast<std::size_t>(rank)] =
          run_on(*backend, graph, {.microbatches = 2, .first = 10 * rank});
    });
  }
  ranks.clear();
  return results;
}

TEST(CpuBatchNormSynchronised, agrees_with_the_reference_on_two_ranks) {
  for (bool tail : {false, true}) {
    const Graph graph = synchronised(tail);
    const auto cpu = run_ranks(graph, "cpu");
    const auto reference = run_ranks(graph, "reference");
    for (std::size_t rank = 0; rank < cpu.size(); ++rank) expect_close(cpu[rank], reference[rank], 2e-5);
  }
}

}  // namespace
}  // namespace lockstep::models::testing
