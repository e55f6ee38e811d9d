// Every model on the CPU backend against the reference backend: loss and all gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "core/random.h"
#include "core/stream.h"
#include "model_cases.h"
#include "models/executor.h"

namespace lockstep::models {
namespace {

/// What one training pass gives, in canonical order.
struct Outcome {
  double loss = 0;
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

Outcome train_once(const char* backend_name, std::string_view model, const Case& which) {
  const OpSpec loss = loss_for(which.task);
  const Graph graph = build_graph(*make_model(model, which.given), which.task, kMicrobatch, &loss);
  const auto backend = make_backend(backend_name, {});
  const auto executor = make_executor(graph, *backend);
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
  initialise(graph, 7, store);
  FlatArray statistics = make_array(Device{}, Dtype::f32, store.state().count);
  const Samples samples(which.task);
  const bool tokens = which.task.input_dtype == Dtype::i32, labelled = which.task.classes > 0;
  const auto stream = make_stream(Device{});

  Pass pass;
  pass.values = pass.working = store.values();
  pass.gradients = store.gradients();
  pass.state = store.state();
  pass.statistics = statistics.span;
  pass.seed = 9;
  executor->feed(tokens ? static_cast<const void*>(samples.ids.data()) : samples.numbers.data(),
                 labelled ? static_cast<const void*>(samples.labels.data()) : samples.wanted.data(), *stream);
  executor->forward(pass, *stream);
  float sum = 0;
  executor->add_loss(&sum, *stream);
  executor->backward(
      pass, [](int) {}, *stream);
  stream->synchronize();
  Outcome outcome{.loss = sum, .gradients = {}};
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
    const Outcome expected = train_once("reference", GetParam(), each),
                  got = train_once("cpu", GetParam(), each);
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

INSTANTIATE_TEST_SUITE_P(Table, EveryModelOnCpu, testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace lockstep::models
