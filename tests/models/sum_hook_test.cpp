// The sum hook of synchronised batch norm: when it is called, with how much, and that its sums are what
// counts. No second rank is needed: a hook that doubles plays two ranks with the same samples.
#include <gtest/gtest.h>

#include <atomic>

#include "core/error.h"
#include "core/random.h"
#include "core/stream.h"
#include "models/executor.h"

namespace lockstep::models {
namespace {

constexpr std::int64_t kChannels = 5, kSamples = 3, kHeight = 2, kWidth = 3;
constexpr std::int64_t kPerChannel = kSamples * kHeight * kWidth;

Graph norm_graph(bool synchronised, int norms = 1) {
  GraphBuilder b(kSamples);
  int x = b.conv2d(b.input({kChannels, kHeight, kWidth}, Dtype::f32), "conv",
                   {.out_channels = kChannels, .kernel = {1, 1}}, Init::normal(0.5f));
  for (int i = 0; i < norms; ++i)
    x = b.batch_norm(x, "norm" + std::to_string(i), {.synchronised = synchronised});
  b.predict(x);
  b.loss(MeanSquaredError{});
  return std::move(b).finish();
}

struct Result {
  std::vector<float> prediction, gradients, statistics;
};

class SumHookOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      static_cast<void>(make_backend(GetParam(), {}));
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  static Result run(const Graph& graph, const BackendOptions& options, Mode mode = Mode::train) {
    const auto backend = make_backend(GetParam(), options);
    const auto executor = make_executor(graph, *backend);
    ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
    initialise(graph, 2, store);
    std::vector<float> input(static_cast<std::size_t>(kPerChannel * kChannels)), target(input.size());
    const RandomSource random(6, "samples", 0);
    for (std::size_t i = 0; i < input.size(); ++i) {
      input[i] = random.normal(i) + 1;
      target[i] = random.normal(i + input.size());
    }
    Result result{std::vector<float>(input.size()),
                  {},
                  std::vector<float>(static_cast<std::size_t>(store.state().count))};
    const auto stream = make_stream(Device{});
    const Pass pass{.mode = mode,
                    .values = store.values(),
                    .working = store.values(),
                    .gradients = store.gradients(),
                    .state = store.state(),
                    .statistics = flat(std::span(result.statistics))};
    executor->feed(input.data(), target.data(), *stream);
    executor->forward(pass, *stream);
    executor->read_prediction(result.prediction.data(), *stream);
    executor->backward(pass, {}, *stream);
    stream->synchronize();
    const auto gradients = store.gradients().as<float>();
    result.gradients.assign(gradients.begin(), gradients.end());
    return result;
  }

  static BackendOptions with_hook(SumHook hook, int ranks) {
    return {.compute = Dtype::f32, .threads = 1, .sum = std::move(hook), .ranks = ranks};
  }
  /// Two ranks with the same samples: every sum is twice one's own.
  static SumHook doubling() {
    return [](FlatSpan span, Stream& stream) {
      stream.host([span] {
        for (float& each : span.as<float>()) each *= 2;
      });
    };
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, SumHookOf, testing::Values("reference", "cpu"),
                         [](const auto& each) { return std::string(each.param); });

void expect_near(const std::vector<float>& got, const std::vector<float>& wanted, float tolerance = 2e-5f) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], tolerance) << i;
}

TEST_P(SumHookOf, is_called_three_times_a_norm_and_step_with_a_few_numbers_per_channel) {
  for (const int norms : {1, 3}) {
    std::vector<std::int64_t> counts;
    const auto counting = [&](FlatSpan span, Stream& stream) {
      EXPECT_EQ(span.dtype, Dtype::f32);
      counts.push_back(span.count);
      doubling()(span, stream);
    };
    static_cast<void>(run(norm_graph(true, norms), with_hook(counting, 2)));
    EXPECT_EQ(counts.size(), static_cast<std::size_t>(3 * norms)) << "mean, squares, and once in backward";
    for (const std::int64_t count : counts) {
      EXPECT_GE(count, kChannels);
      EXPECT_LE(count, 2 * kChannels);
    }
  }
}

TEST_P(SumHookOf, is_left_alone_in_evaluation_and_by_norms_that_are_not_synchronised) {
  const SumHook never = [](FlatSpan, Stream&) { ADD_FAILURE() << "called"; };
  static_cast<void>(run(norm_graph(true), with_hook(never, 2), Mode::evaluate));
  static_cast<void>(run(norm_graph(false), with_hook(never, 2)));
}

TEST_P(SumHookOf, two_ranks_with_the_same_samples_normalise_as_one) {
  const Result alone = run(norm_graph(false), {});
  const Result two = run(norm_graph(true), with_hook(doubling(), 2));
  expect_near(two.prediction, alone.prediction);
  expect_near(two.gradients, alone.gradients);
}

TEST_P(SumHookOf, unbiased_variance_counts_the_samples_of_all_ranks) {
  const Graph graph = norm_graph(true);
  const Result alone = run(norm_graph(false), {});
  const Result two = run(graph, with_hook(doubling(), 2));
  const auto backend = make_backend(GetParam(), {});
  const auto executor = make_executor(graph, *backend);
  const Slot& mean = *executor->state_layout().find("norm0.running_mean");
  const Slot& variance = *executor->state_layout().find("norm0.running_var");
  const double n = kPerChannel;
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const auto at = [&](const Result& result, const Slot& slot) {
      return static_cast<double>(result.statistics[static_cast<std::size_t>(slot.offset + c)]);
    };
    EXPECT_NEAR(at(two, mean), at(alone, mean), 1e-5);
    EXPECT_NEAR(at(two, variance), at(alone, variance) * (n - 1) / n * (2 * n) / (2 * n - 1), 1e-5);
  }
}

TEST_P(SumHookOf, other_sums_give_another_result) {
  // Negative control: a hook that forgets the other rank.
  const SumHook forgetful = [](FlatSpan, Stream&) {};
  const Result alone = run(norm_graph(false), {});
  const Result wrong = run(norm_graph(true), with_hook(forgetful, 2));
  double difference = 0;
  for (std::size_t i = 0; i < alone.prediction.size(); ++i)
    difference =
        std::max(difference, static_cast<double>(std::abs(alone.prediction[i] - wrong.prediction[i])));
  EXPECT_GT(difference, 0.1);
}

TEST_P(SumHookOf, a_lone_rank_needs_none) {
  const Result plain = run(norm_graph(false), {});
  const Result lone = run(norm_graph(true), {});
  EXPECT_EQ(lone.prediction, plain.prediction);
  EXPECT_EQ(lone.gradients, plain.gradients);
  EXPECT_EQ(lone.statistics, plain.statistics);
}

}  // namespace
}  // namespace lockstep::models
