#include "train_once.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "core/random.h"
#include "core/stream.h"
#include "core/vector/vector.h"
#include "models/executor.h"

namespace lockstep::models {
namespace {

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

double length(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

Outcome train_once(const How& how, std::string_view model, const Case& which) {
  const OpSpec loss = loss_for(which.task);
  const Graph graph = build_graph(*make_model(model, which.given), which.task, kMicrobatch, &loss);
  const auto backend = make_backend(how.backend, {.compute = how.compute,
                                                  .gradients = how.gradients,
                                                  .tune = how.tune,
                                                  .threads = how.threads,
                                                  .sum = {}});
  const Device device = backend->device();
  const auto executor = make_executor(graph, *backend);
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), device, {}, how.gradients);
  initialise(graph, 7, store);
  FlatArray statistics = make_array(device, Dtype::f32, store.state().count);
  FlatArray working = make_array(device, how.compute, store.values().count);
  const Samples samples(which.task);
  const bool tokens = which.task.input_dtype == Dtype::i32, labelled = which.task.classes > 0;
  const auto stream = make_stream(device, {.threads = how.threads});
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
  const FlatArray sum = make_array(device, Dtype::f32, 1);
  executor->feed(tokens ? static_cast<const void*>(samples.ids.data()) : samples.numbers.data(),
                 labelled ? static_cast<const void*>(samples.labels.data()) : samples.wanted.data(), *stream);
  executor->forward(pass, *stream);
  executor->read_prediction(outcome.prediction.data(), *stream);
  executor->add_loss(static_cast<float*>(sum.span.data), *stream);
  executor->backward(
      pass, [](int) {}, *stream);
  stream->synchronize();
  float mean_loss = 0;
  copy_to_host(sum.span, &mean_loss);
  outcome.loss = static_cast<double>(mean_loss);
  for (const Slot& slot : store.layout().slots())
    outcome.gradients[slot.name] = read_slot(slot, store.gradients());
  return outcome;
}

void expect_same_training(const Outcome& got, const Outcome& expected) {
  EXPECT_NEAR(got.loss, expected.loss, 1e-4 * std::abs(expected.loss));
  double largest = 0;
  for (const auto& [name, gradient] : expected.gradients) largest = std::max(largest, length(gradient));
  ASSERT_EQ(got.gradients.size(), expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    std::vector<float> difference = got.gradients.at(name);
    ASSERT_EQ(difference.size(), gradient.size()) << name;
    for (std::size_t i = 0; i < gradient.size(); ++i) difference[i] -= gradient[i];
    EXPECT_LT(length(difference), 2e-3 * length(gradient) + 1e-5 * largest) << name;
  }
}

void expect_rounded_gradients(const Outcome& narrow, const Outcome& wide) {
  EXPECT_EQ(narrow.loss, wide.loss);
  double largest = 0;
  for (const auto& [name, gradient] : wide.gradients) largest = std::max(largest, length(gradient));
  ASSERT_EQ(narrow.gradients.size(), wide.gradients.size());
  for (const auto& [name, gradient] : wide.gradients) {
    const std::vector<float>& halves = narrow.gradients.at(name);
    ASSERT_EQ(halves.size(), gradient.size()) << name;
    std::vector<float> difference = halves;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      ASSERT_EQ(static_cast<float>(Bf16(halves[i])), halves[i]) << name;
      difference[i] -= gradient[i];
    }
    EXPECT_LT(length(difference), 0.01 * length(gradient) + 1e-5 * largest) << name;
  }
}

void expect_same_direction(const Outcome& narrow, const Outcome& wide) {
  EXPECT_NEAR(narrow.loss, wide.loss, 0.03 * std::abs(wide.loss));
  EXPECT_NE(narrow.gradients, wide.gradients) << "16 bits must have been used";
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

}  // namespace lockstep::models
