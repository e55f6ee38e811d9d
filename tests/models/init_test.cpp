// Initial values: a function of seed, slot name and element only; with the deviations that the papers state.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "core/stream.h"
#include "model_cases.h"
#include "models/executor.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models {
namespace {

/// The store of a graph, initialised.
struct Started {
  Graph graph;
  ParameterStore store;
  Started(Graph made, std::uint64_t seed) : graph(std::move(made)), store(store_of(graph)) {
    initialise(graph, seed, store);
  }
  static ParameterStore store_of(const Graph& graph) {
    const auto layout = [](std::span<const ParameterSpec> specs) {
      std::vector<SlotSpec> slots;
      for (const ParameterSpec& each : specs) slots.push_back({each.name, each.shape, {}, each.decays});
      return SlotLayout(std::move(slots));
    };
    return {layout(graph.parameters()), layout(graph.states()), Device{}};
  }
};

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};
Moments moments_of(const std::vector<float>& values) {
  Moments result;
  for (const float value : values) {
    result.mean += static_cast<double>(value) / static_cast<double>(values.size());
    result.deviation += static_cast<double>(value) * value / static_cast<double>(values.size());
    result.largest = std::max(result.largest, static_cast<double>(std::abs(value)));
  }
  result.deviation = std::sqrt(result.deviation - result.mean * result.mean);
  return result;
}

TEST(Initialisation, order_and_company_of_layers_do_not_matter) {
  const auto with = [](const std::vector<const char*>& names) {
    GraphBuilder builder(1);
    int x = builder.input({6}, Dtype::f32);
    for (const char* name : names)
      x = builder.linear(x, name, {.out_features = 6}, Init::normal(1), Init::uniform(1));
    builder.predict(x);
    return Started(std::move(builder).finish(), 5);
  };
  const Started forward = with({"a", "b", "c"}), backward = with({"c", "b", "a"}), alone = with({"b"});
  for (const char* slot : {"a.weight", "b.weight", "c.weight", "a.bias", "c.bias"})
    EXPECT_EQ(forward.store.read(slot), backward.store.read(slot)) << slot;
  EXPECT_EQ(alone.store.read("b.weight"), forward.store.read("b.weight"));
  EXPECT_EQ(alone.store.read("b.bias"), forward.store.read("b.bias"));
}

TEST(Initialisation, larger_slot_starts_with_the_elements_of_the_smaller) {
  const auto rows = [](std::int64_t features) {
    GraphBuilder builder(1);
    builder.predict(
        builder.linear(builder.input({3}, Dtype::f32), "fc", {.out_features = features}, Init::normal(1)));
    return Started(std::move(builder).finish(), 5).store.read("fc.weight");
  };
  const auto small = rows(4), large = rows(9);
  EXPECT_TRUE(std::equal(small.begin(), small.end(), large.begin()));
}

class EveryStart : public testing::TestWithParam<std::string_view> {
 protected:
  static Graph graph(const Case& which) { return graph_of(GetParam(), which.given, which.task, kMicrobatch); }
};
INSTANTIATE_TEST_SUITE_P(Table, EveryStart, testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

TEST_P(EveryStart, no_two_random_slots_start_alike_and_seeds_differ) {
  for (const Case& which : cases_of(GetParam())) {
    const Started one(graph(which), 1), two(graph(which), 2);
    std::vector<std::vector<float>> seen;
    for (const ParameterSpec& spec : one.graph.parameters()) {
      const auto values = one.store.read(spec.name);
      if (spec.init.kind == Init::Kind::constant) {
        EXPECT_EQ(values, std::vector<float>(values.size(), spec.init.value)) << spec.name;
        continue;
      }
      EXPECT_NE(values, two.store.read(spec.name)) << spec.name;
      const auto starts_alike = [&](const auto& other) { return values[0] == other[0]; };
      EXPECT_TRUE(std::ranges::none_of(seen, starts_alike)) << spec.name;
      seen.push_back(values);
    }
  }
}

TEST_P(EveryStart, drawn_values_have_the_stated_deviation) {
  for (const Case& which : cases_of(GetParam())) {
    const Started start(graph(which), 3);
    for (const ParameterSpec& spec : start.graph.parameters()) {
      if (spec.init.kind == Init::Kind::constant) continue;
      const auto values = start.store.read(spec.name);
      const auto n = static_cast<double>(values.size());
      if (n < 64) continue;
      const bool normal = spec.init.kind == Init::Kind::normal;
      const auto size = static_cast<double>(spec.init.value);
      const double deviation = normal ? size : size / std::sqrt(3.0);
      const Moments got = moments_of(values);
      EXPECT_NEAR(got.mean, 0, 5 * deviation / std::sqrt(n)) << spec.name;
      EXPECT_NEAR(got.deviation, deviation, 5 * deviation / std::sqrt(2 * n)) << spec.name;
      EXPECT_LE(got.largest, normal ? 7 * size : size) << spec.name;
    }
  }
}

TEST_P(EveryStart, norms_start_as_the_identity_with_fresh_statistics) {
  for (const Case& which : cases_of(GetParam())) {
    const Started start(graph(which), 1);
    for (const ParameterSpec& state : start.graph.states()) {
      const float wanted = state.name.ends_with("running_var") ? 1.0f : 0.0f;
      for (const float value : start.store.read(state.name)) EXPECT_EQ(value, wanted) << state.name;
    }
    const bool zero_gamma = !which.given.empty() && which.given.back().first == "zero_last_gamma";
    for (const Node& node : start.graph.nodes()) {
      const bool norm =
          std::holds_alternative<BatchNorm>(node.spec) || std::holds_alternative<LayerNorm>(node.spec);
      if (!norm) continue;
      const float gamma = start.store.read(node.name + ".weight")[0];
      EXPECT_EQ(gamma, zero_gamma && node.name.ends_with("bn2") ? 0.0f : 1.0f) << node.name;
      EXPECT_EQ(start.store.read(node.name + ".bias")[0], 0.0f) << node.name;
    }
  }
}

TEST(ResNetStart, zero_last_gamma_makes_every_block_the_identity) {
  // Then the network is stem, pooling and classifier: doubling a block's convolution changes nothing.
  const Task task = images({3, 8, 8}, 4);
  const Graph graph = build_graph(*make_model("resnet", {{"zero_last_gamma", "true"}}), task, 1, nullptr);
  const auto backend = make_reference_backend<float>({});
  const auto executor = make_executor(graph, *backend, {.training = false});
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
  initialise(graph, 1, store);
  const auto predict = [&] {
    const auto stream = make_stream(Device{});
    std::vector<float> input(3 * 64), scores(4);
    const RandomSource random(4, "image", 0);
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = random.normal(i);
    Pass pass{
        .mode = Mode::evaluate, .values = store.values(), .working = store.values(), .state = store.state()};
    executor->feed(input.data(), nullptr, *stream);
    executor->forward(pass, *stream);
    executor->read_prediction(scores.data(), *stream);
    stream->synchronize();
    return scores;
  };
  const auto before = predict();
  auto weights = store.read("layer2.1.conv2.weight");
  for (float& each : weights) each *= 2;
  store.write("layer2.1.conv2.weight", weights);
  EXPECT_EQ(predict(), before);
  store.write("layer2.1.bn2.weight", std::vector<float>(32, 1.0f));
  EXPECT_NE(predict(), before) << "with a gamma the block does something";
}

TEST(Gpt2Start, untrained_model_knows_nothing) {
  // Scores have deviation 0.02 sqrt(width): the loss is that of guessing, a little above log V.
  Task task = tokens(16, 65);
  const Graph graph = graph_of("gpt2", {{"width", "64"}, {"dropout", "0"}}, task, 4);
  const auto backend = make_reference_backend<float>({});
  const auto executor = make_executor(graph, *backend, {.training = false});
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
  initialise(graph, 1, store);
  std::vector<std::int32_t> ids(64), next(64);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>(i * 31 % 65);
    next[i] = static_cast<std::int32_t>(i * 17 % 65);
  }
  const auto stream = make_stream(Device{});
  float loss = 0;
  executor->feed(ids.data(), next.data(), *stream);
  executor->forward({.mode = Mode::evaluate, .values = store.values(), .working = store.values()}, *stream);
  executor->add_loss(&loss, *stream);
  stream->synchronize();
  EXPECT_NEAR(loss, std::log(65.0f), 0.1f);
}

}  // namespace
}  // namespace lockstep::models
