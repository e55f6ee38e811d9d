// Operation counts of whole models against published figures and against formulas by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "model_support.h"
#include "models/ops/work.h"

namespace lockstep::models {
namespace {

Work work_of(const Graph& graph, const Node& node) {
  KernelRequest request{.graph = &graph, .node = &node, .fused = {}, .inputs = {}};
  for (const int input : node.inputs)
    request.inputs.push_back({graph.values()[static_cast<std::size_t>(input)].shape, Dtype::f32, nullptr});
  return models::work_of(request, 4);
}

bool multiplies(const Node& node) {
  return std::holds_alternative<Conv2d>(node.spec) || std::holds_alternative<ConvTranspose2d>(node.spec) ||
         std::holds_alternative<Linear>(node.spec) || std::holds_alternative<TiedLinear>(node.spec) ||
         std::holds_alternative<CausalAttention>(node.spec);
}

struct Total {
  double forward = 0, backward = 0;
};
/// Of convolutions and products only, as papers count.
Total products_of(const Graph& graph) {
  Total total;
  for (const Node& node : graph.nodes()) {
    if (!multiplies(node)) continue;
    const Work work = work_of(graph, node);
    total.forward += work.forward_flops;
    total.backward += work.backward_flops;
  }
  return total;
}

struct Published {
  const char* model;
  Given given;
  Task task;
  double multiply_adds;  ///< of one sample
};

TEST(PublishedFlops, multiply_adds_of_known_networks) {
  const Task imagenet = images({3, 224, 224}, 1000), cifar = images({3, 32, 32}, 10);
  const Published rows[] = {
      {"resnet", {{"depth", "18"}}, imagenet, 1.814e9},
      {"resnet", {{"depth", "34"}}, imagenet, 3.664e9},
      {"resnet", {{"depth", "50"}}, imagenet, 4.089e9},
      {"resnet", {{"depth", "101"}}, imagenet, 7.801e9},
      {"resnet", {{"depth", "152"}}, imagenet, 11.514e9},
      {"vgg16", {}, imagenet, 15.470e9},
      {"resnet", {}, cifar, 40.55e6},
      {"resnet", {{"depth", "56"}}, cifar, 125.49e6},
  };
  for (const Published& row : rows) {
    const double got = products_of(graph_of(row.model, row.given, row.task, 1)).forward / 2;
    EXPECT_NEAR(got, row.multiply_adds, 1e-3 * row.multiply_adds)
        << row.model << (row.given.empty() ? "" : " " + row.given[0].second);
  }
}

TEST(Flops, of_lenet_by_hand) {
  const Graph graph = graph_of("lenet", {}, images({1, 28, 28}, 10), 1);
  const double conv1 = 28.0 * 28 * 6 * 25, conv2 = 10.0 * 10 * 16 * 150;
  const double linear = 400.0 * 120 + 120 * 84 + 84 * 10;
  const double biases = 28 * 28 * 6 + 10 * 10 * 16 + 120 + 84 + 10;
  const Total total = products_of(graph);
  EXPECT_EQ(total.forward, 2 * (conv1 + conv2 + linear) + biases);
  EXPECT_EQ(total.backward, 2 * conv1 + 4 * (conv2 + linear) + biases) << "the image wants no gradient";
}

TEST(Flops, of_an_mlp_want_no_gradient_of_the_flattened_image) {
  const Graph graph = graph_of("mlp", {{"hidden", "[11]"}}, images({1, 5, 5}, 3), 2);
  const Total total = products_of(graph);
  EXPECT_EQ(total.forward, 2.0 * (2 * (25 * 11 + 11 * 3) + 11 + 3));
  EXPECT_EQ(total.backward, 2.0 * (2 * 25 * 11 + 4 * 11 * 3 + 11 + 3));
}

TEST(Flops, nothing_is_computed_backward_before_the_first_parameter) {
  const Graph graph = graph_of("unet", {{"channels", "2"}, {"levels", "1"}}, fields({1, 4, 4}, {1, 8, 8}), 1);
  ASSERT_TRUE(std::holds_alternative<Resize>(graph.nodes().front().spec));
  const Work enlarging = work_of(graph, graph.nodes().front());
  EXPECT_GT(enlarging.forward_flops, 0);
  EXPECT_EQ(enlarging.backward_flops, 0);
  EXPECT_EQ(enlarging.backward_bytes, 0);
  const auto first = std::ranges::find_if(graph.nodes(), multiplies);
  const Work convolution = work_of(graph, *first);
  EXPECT_LT(convolution.backward_flops, 1.5 * convolution.forward_flops) << "weights only";
  const Work second = work_of(graph, *std::find_if(first + 1, graph.nodes().end(), multiplies));
  EXPECT_GT(second.backward_flops, 1.5 * second.forward_flops) << "weights and input";
}

TEST(Flops, of_gpt2_by_the_formula_of_its_parameters) {
  for (const auto& [layers, width, heads, length, vocabulary] :
       {std::tuple{2, 64, 4, 32, 101}, std::tuple{3, 96, 3, 17, 65}}) {
    const Given given{{"layers", std::to_string(layers)},
                      {"width", std::to_string(width)},
                      {"heads", std::to_string(heads)}};
    const Graph graph = graph_of("gpt2", given, tokens(length, vocabulary), 2);
    const double positions = 2.0 * length, d = width;
    // 12 d^2 weights a block, each one multiply-add a position; the tied output layer
    const double weights = positions * (12 * d * d * layers + d * vocabulary);
    const double biases = positions * 9 * d * layers;
    // each pair of a position and one not after it: a product for the score, one for the value; the softmax
    const double pairs = 2.0 * length * (length + 1) / 2;
    const double attention = layers * (4 * pairs * d + 4 * pairs * heads);
    const Total total = products_of(graph);
    EXPECT_EQ(total.forward, 2 * weights + biases + attention);
    EXPECT_EQ(total.backward, 4 * weights + biases + 2 * attention);
  }
}

TEST(Flops, parameters_of_gpt2_follow_the_formula) {
  for (const auto& [layers, width, length, vocabulary] :
       {std::tuple{1, 8, 5, 7}, std::tuple{5, 48, 33, 1000}}) {
    const Graph graph =
        graph_of("gpt2", {{"layers", std::to_string(layers)}, {"width", std::to_string(width)}},
                 tokens(length, vocabulary));
    const std::int64_t d = width;
    EXPECT_EQ(parameters_of(graph), layers * (12 * d * d + 13 * d) + (vocabulary + length + 2) * d);
  }
}

TEST(Flops, grow_in_proportion_to_the_microbatch) {
  for (const auto& [model, task] :
       {std::pair{"resnet", images({3, 32, 32}, 10)}, std::pair{"gpt2", tokens(16, 65)},
        std::pair{"unet", fields({1, 16, 16}, {1, 32, 32})}}) {
    const auto all = [&, m = model, t = task](std::int64_t microbatch) {
      const Graph graph = graph_of(m, {}, t, microbatch);
      Total total;
      for (const Node& node : graph.nodes()) {
        total.forward += work_of(graph, node).forward_flops;
        total.backward += work_of(graph, node).backward_flops;
      }
      return total;
    };
    const Total one = all(1), five = all(5);
    EXPECT_EQ(five.forward, 5 * one.forward) << model;
    EXPECT_EQ(five.backward, 5 * one.backward) << model;
    EXPECT_GT(one.backward, 1.5 * one.forward) << model;
    EXPECT_LT(one.backward, 2.1 * one.forward) << model;
  }
}

/// The last node of a graph on [4, 6, 8] images behind a batch norm, microbatch 3.
Work of_last(const std::function<int(GraphBuilder&, int)>& add, std::size_t element_bytes = 4) {
  GraphBuilder builder(3);
  const int x = builder.batch_norm(builder.input({4, 6, 8}, Dtype::f32), "before", {});
  builder.predict(add(builder, x));
  const Graph graph = std::move(builder).finish();
  const Node& node = graph.nodes().back();
  KernelRequest request{.graph = &graph, .node = &node, .fused = {}, .inputs = {}};
  for (const int input : node.inputs)
    request.inputs.push_back({graph.values()[static_cast<std::size_t>(input)].shape, Dtype::f32, nullptr});
  return models::work_of(request, element_bytes);
}

TEST(Flops, of_transposed_convolution_equal_those_of_its_convolution) {
  const Work up = of_last([](GraphBuilder& b, int x) {
    return b.conv_transpose2d(x, "up", {.out_channels = 5, .bias = false}, {});
  });
  // every input element meets 5 channels of a 2x2 window
  EXPECT_EQ(up.forward_flops, 2 * (3 * 4 * 48) * (5 * 4));
  EXPECT_EQ(up.backward_flops, 2 * up.forward_flops);
}

TEST(Flops, of_grouped_and_strided_convolutions) {
  const Work work = of_last([](GraphBuilder& b, int x) {
    return b.conv2d(x, "c", {.out_channels = 8, .stride = {2, 2}, .padding = {1, 1}, .groups = 4}, {});
  });
  const double out = 3 * 8 * 3 * 4;
  EXPECT_EQ(work.forward_flops, 2 * out * 9 * 1 + out);
  EXPECT_EQ(work.backward_flops, 4 * out * 9 * 1 + out);
}

TEST(Flops, pooling_touches_every_element_of_its_windows) {
  const double in = 3 * 4 * 48;
  const auto pool = [](const OpSpec& op) {
    return of_last([=](GraphBuilder& b, int x) { return b.apply(op, {x}, "p"); });
  };
  EXPECT_EQ(pool(MaxPool{}).forward_flops, in);
  EXPECT_EQ(pool(MaxPool{}).backward_flops, in / 4) << "only the largest gets a gradient";
  EXPECT_EQ(pool(AveragePool{}).backward_flops, in);
  EXPECT_EQ(pool(GlobalAveragePool{}).forward_flops, in);
  EXPECT_EQ(pool(Flatten{}).forward_flops, 0);
}

TEST(Flops, bytes_halve_with_bf16_but_for_the_weights) {
  const auto conv = [](GraphBuilder& b, int x) {
    return b.conv2d(x, "c", {.out_channels = 8, .kernel = {1, 1}, .bias = false}, {});
  };
  const double in = 3 * 4 * 48, out = 3 * 8 * 48, weights = 32;
  const Work wide = of_last(conv, 4), narrow = of_last(conv, 2);
  EXPECT_EQ(wide.forward_bytes, 4 * (in + out + weights));
  EXPECT_EQ(narrow.forward_bytes, 2 * (in + out) + 4 * weights);
  EXPECT_EQ(wide.backward_bytes, 4 * (2 * in + out + 2 * weights));
}

}  // namespace
}  // namespace lockstep::models
