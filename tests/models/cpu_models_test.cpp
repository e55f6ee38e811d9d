// Every model on the CPU backend: loss and all gradients against the reference backend, in f32 and bf16; the
// same bits again; hashes that do not know the backend; forward that does not know the number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/stream.h"
#include "core/vector/vector.h"
#include "model_cases.h"
#include "models/executor.h"

namespace lockstep::models {
namespace {

/// What one training pass gives, in canonical order.
struct Outcome {
  double loss = 0;
  std::uint64_t parameter_hash = 0, state_hash = 0;
  std::vector<float> prediction;
  std::map<std::string, std::vector<float>> gradients;
};

struct Samples {
  std::vector<float> numbers, wanted;
  std::vector<std::int32_t> ids, labels;

  explicit Samples(const Task& task) {
    const RandomSource random(5, "samples", 0);
    const auto classes = static_cast<std::uint64_t>(std::max<std::int64_t>(task.classes, 1));
    const auto inputs = static_cast<std::uint64_t>(kMicrobatch * task.input.count());
    const auto targets = static_cast<std::uint64_t>(kMicrobatch * task.target.count());
    for (std::uint64_t i = 0; i < inputs; ++i) {
      numbers.push_back(random.normal(i));
      ids.push_back(static_cast<std::int32_t>(random.below(i, classes)));
    }
    for (std::uint64_t i = inputs; i < inputs + targets; ++i) {
      wanted.push_back(random.normal(i));
      labels.push_back(static_cast<std::int32_t>(random.below(i, classes)));
    }
  }
};

struct How {
  const char* backend = "cpu";
  Dtype compute = Dtype::f32;
  int threads = 1;
};

/// One training pass from the initial values.
Outcome train_once(const How& how, std::string_view model, const Case& which) {
  const OpSpec loss = loss_for(which.task);
  const Graph graph = build_graph(*make_model(model, which.given), which.task, kMicrobatch, &loss);
  const auto backend =
      make_backend(how.backend, {.compute = how.compute, .threads = how.threads, .sum = {}, .ranks = 1});
  const auto executor = make_executor(graph, *backend);
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
  initialise(graph, 7, store);
  FlatArray statistics = make_array(Device{}, Dtype::f32, store.state().count);
  FlatArray working = make_array(Device{}, how.compute, store.values().count);
  const Samples samples(which.task);
  const bool tokens = which.task.input_dtype == Dtype::i32, labelled = which.task.classes > 0;
  const auto stream = make_stream(Device{}, {.threads = how.threads});
  vector::cast(store.values(), working.span, *stream);

  Pass pass;
  pass.values = store.values();
  pass.working = how.compute == Dtype::f32 ? pass.values : working.span;
  pass.gradients = store.gradients();
  pass.state = store.state();
  pass.statistics = statistics.span;
  pass.seed = 9;
  Outcome outcome{.parameter_hash = store.parameter_hash(), .state_hash = store.state_hash()};
  const ValueSpec& prediction = graph.values()[static_cast<std::size_t>(graph.prediction())];
  outcome.prediction.resize(static_cast<std::size_t>(prediction.shape.count()));
  float sum = 0;
  executor->feed(tokens ? static_cast<const void*>(samples.ids.data()) : samples.numbers.data(),
                 labelled ? static_cast<const void*>(samples.labels.data()) : samples.wanted.data(), *stream);
  executor->forward(pass, *stream);
  executor->read_prediction(outcome.prediction.data(), *stream);
  executor->add_loss(&sum, *stream);
  executor->backward(
      pass, [](int) {}, *stream);
  stream->synchronize();
  outcome.loss = sum;
  for (const Slot& slot : store.layout().slots())
    outcome.gradients[slot.name] = read_slot(slot, store.gradients());
  return outcome;
}

double length(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

class EveryModelOnCpu : public testing::TestWithParam<std::string_view> {};

TEST_P(EveryModelOnCpu, agrees_with_the_reference) {
  for (const Case& each : cases_of(GetParam())) {
    const Outcome expected = train_once({.backend = "reference"}, GetParam(), each),
                  got = train_once({}, GetParam(), each);
    EXPECT_NEAR(got.loss, expected.loss, 1e-4 * std::abs(expected.loss));
    double largest = 0;
    for (const auto& [name, gradient] : expected.gradients) largest = std::max(largest, length(gradient));
    ASSERT_EQ(got.gradients.size(), expected.gradients.size());
    for (const auto& [name, gradient] : expected.gradients) {
      std::vector<float> difference = got.gradients.at(name);
      ASSERT_EQ(difference.size(), gradient.size()) << name;
      for (std::size_t i = 0; i < gradient.size(); ++i) difference[i] -= gradient[i];
      EXPECT_LT(length(difference), 2e-3 * length(gradient) + 1e-5 * largest) << GetParam() << " " << name;
    }
  }
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

TEST_P(EveryModelOnCpu, in_bf16_points_where_f32_points) {
  for (const Case& each : cases_of(GetParam())) {
    Outcome narrow;
    try {
      narrow = train_once({.compute = Dtype::bf16}, GetParam(), each);
    } catch (const Error& error) {
      if (error.fault() == Fault::device) GTEST_SKIP() << error.what();
      throw;
    }
    const Outcome wide = train_once({}, GetParam(), each);
    EXPECT_NEAR(narrow.loss, wide.loss, 0.03 * std::abs(wide.loss));
    EXPECT_NE(narrow.gradients, wide.gradients) << "bf16 must have been used";
    double along = 0, one = 0, other = 0;
    for (const auto& [name, gradient] : wide.gradients) {
      along += dot(narrow.gradients.at(name), gradient);
      one += dot(gradient, gradient);
      other += dot(narrow.gradients.at(name), narrow.gradients.at(name));
    }
    // The norms of a small microbatch magnify rounding layer by layer: 20 layers leave 0.94.
    EXPECT_GT(along / std::sqrt(one * other), 0.9) << "cosine of the whole gradients";
    EXPECT_NEAR(std::sqrt(other / one), 1, 0.1);
  }
}

TEST_P(EveryModelOnCpu, gives_the_same_bits_again) {
  const Case each = cases_of(GetParam()).front();
  const Outcome first = train_once({}, GetParam(), each), second = train_once({}, GetParam(), each);
  EXPECT_EQ(first.loss, second.loss);
  EXPECT_EQ(first.gradients, second.gradients);
}

TEST_P(EveryModelOnCpu, starts_with_the_hash_that_the_reference_starts_with) {
  for (const Case& each : cases_of(GetParam())) {
    const Outcome cpu = train_once({}, GetParam(), each);
    const Outcome reference = train_once({.backend = "reference"}, GetParam(), each);
    EXPECT_EQ(cpu.parameter_hash, reference.parameter_hash) << "hashes are over the canonical form";
    EXPECT_EQ(cpu.state_hash, reference.state_hash);
  }
}

TEST_P(EveryModelOnCpu, two_threads_change_the_result_by_rounding_at_most) {
  for (const Case& each : cases_of(GetParam())) {
    const Outcome one = train_once({}, GetParam(), each), two = train_once({.threads = 2}, GetParam(), each);
    double largest = 1e-3;
    for (const float score : one.prediction)
      largest = std::max(largest, std::abs(static_cast<double>(score)));
    for (std::size_t i = 0; i < one.prediction.size(); ++i)
      ASSERT_NEAR(two.prediction[i], one.prediction[i], 1e-4 * largest);
    EXPECT_NEAR(two.loss, one.loss, 1e-4 * std::abs(one.loss));
  }
}

INSTANTIATE_TEST_SUITE_P(Table, EveryModelOnCpu, testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace lockstep::models
