// The graph builder: shapes, names and order of parameters, and errors that name the node; and the work of
// operations against counts by hand.
#include "models/graph.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "models/ops/work.h"
#include "models/shape_inference.h"

namespace lockstep::models {
namespace {

Shape shape_after(const OpSpec& op, const std::vector<Shape>& inputs) {
  return infer_shape(op, inputs, "node");
}

/// The message of the Fault::config that `build` throws.
template <class Build>
std::string refusal(Build build) {
  try {
    GraphBuilder builder(2);
    build(builder);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return {};
}

TEST(ShapeInference, convolutions_follow_the_formula) {
  EXPECT_EQ(shape_after(Conv2d{.out_channels = 8, .kernel = {3, 5}, .stride = {2, 1}, .padding = {1, 0}},
                        {{2, 3, 7, 9}}),
            Shape({2, 8, 4, 5}));
  EXPECT_EQ(shape_after(Conv2d{.out_channels = 4, .dilation = {2, 3}}, {{1, 1, 7, 8}}), Shape({1, 4, 3, 2}));
  EXPECT_EQ(shape_after(ConvTranspose2d{.out_channels = 4}, {{1, 2, 5, 6}}), Shape({1, 4, 10, 12}));
  EXPECT_EQ(shape_after(ConvTranspose2d{.out_channels = 1,
                                        .kernel = {3, 3},
                                        .stride = {3, 2},
                                        .padding = {1, 2},
                                        .output_padding = {2, 1}},
                        {{1, 2, 3, 3}}),
            Shape({1, 1, 9, 4}));
}

TEST(ShapeInference, pooling_drops_windows_that_reach_over_the_edge) {
  EXPECT_EQ(shape_after(MaxPool{}, {{1, 2, 5, 7}}), Shape({1, 2, 2, 3}));
  EXPECT_EQ(shape_after(AveragePool{{3, 3}, {2, 2}, {1, 1}}, {{1, 2, 5, 6}}), Shape({1, 2, 3, 3}));
  EXPECT_EQ(shape_after(GlobalAveragePool{}, {{4, 2, 5, 7}}), Shape({4, 2}));
}

TEST(ShapeInference, the_other_operations) {
  EXPECT_EQ(shape_after(Linear{.out_features = 7}, {{2, 3, 5}}), Shape({2, 3, 7}));
  EXPECT_EQ(shape_after(CausalAttention{.heads = 2}, {{2, 5, 24}}), Shape({2, 5, 8}));
  EXPECT_EQ(shape_after(Concat{}, {{2, 3, 4}, {2, 1, 4}, {2, 5, 4}}), Shape({2, 9, 4}));
  EXPECT_EQ(shape_after(ShortcutA{.out_channels = 8}, {{1, 4, 5, 6}}), Shape({1, 8, 3, 3}));
  EXPECT_EQ(shape_after(Flatten{}, {{2, 3, 4, 5}}), Shape({2, 60}));
  EXPECT_EQ(shape_after(Resize{4}, {{1, 2, 3, 5}}), Shape({1, 2, 12, 20}));
  EXPECT_EQ(shape_after(SoftmaxCrossEntropy{}, {{2, 5, 3, 4}, {2, 3, 4}}), Shape({24}));
  EXPECT_EQ(shape_after(SoftmaxCrossEntropy{}, {{2, 5, 3}, {2, 5}}), Shape({10}));
  EXPECT_EQ(shape_after(MeanSquaredError{}, {{2, 5, 3}, {2, 5, 3}}), Shape({2}));
}

TEST(ShapeInference, every_misfit_is_refused_with_the_node_and_the_operation) {
  const std::vector<std::pair<OpSpec, std::vector<Shape>>> misfits{
      {Conv2d{.out_channels = 4}, {{2, 3, 2, 9}}},
      {Conv2d{.out_channels = 4}, {{2, 3}}},
      {Conv2d{.out_channels = 0}, {{2, 3, 9, 9}}},
      {Conv2d{.out_channels = 4, .groups = 2}, {{2, 3, 9, 9}}},
      {Conv2d{.out_channels = 4, .stride = {0, 1}}, {{2, 3, 9, 9}}},
      {ConvTranspose2d{.out_channels = 4, .output_padding = {2, 0}}, {{2, 3, 4, 4}}},
      {ConvTranspose2d{.out_channels = 4, .padding = {9, 0}}, {{2, 3, 4, 4}}},
      {BatchNorm{}, {{2, 3, 4}}},
      {LayerNorm{}, {{3}}},
      {Linear{}, {{2, 3}}},
      {Dropout{1}, {{2, 3}}},
      {MaxPool{{2, 2}, {2, 2}, {2, 0}}, {{1, 1, 4, 4}}},
      {AveragePool{{5, 5}, {1, 1}}, {{1, 1, 4, 4}}},
      {GlobalAveragePool{}, {{1, 4}}},
      {Embedding{}, {{1, 4}}},
      {PositionEmbedding{3}, {{1, 4, 2}}},
      {CausalAttention{.heads = 5}, {{1, 4, 12}}},
      {CausalAttention{.heads = 2, .dropout = 1}, {{1, 4, 12}}},
      {Add{}, {{1, 4}, {1, 5}}},
      {Add{}, {{1, 4}}},
      {Concat{}, {{1, 4}}},
      {Concat{}, {{1, 4, 3}, {1, 4, 2}}},
      {Concat{}, {{1, 4}, {1, 4, 2}}},
      {ShortcutA{.out_channels = 5}, {{1, 4, 2, 2}}},
      {Resize{0}, {{1, 4, 2, 2}}},
      {TiedLinear{}, {{1, 4, 2}, {7, 3}}},
      {SoftmaxCrossEntropy{}, {{4, 2}, {5}}},
      {SoftmaxCrossEntropy{}, {{4}, {4}}},
      {SoftmaxCrossEntropy{.label_smoothing = 1}, {{4, 2}, {4}}},
      {MeanSquaredError{}, {{4, 2}, {4, 3}}},
      {SmoothL1{0}, {{4, 2}, {4, 2}}}};
  for (const auto& [op, inputs] : misfits) {
    const std::string message = refusal([&](GraphBuilder&) { static_cast<void>(shape_after(op, inputs)); });
    EXPECT_NE(message.find("node"), std::string::npos) << message;
  }
}

TEST(WindowPlaces, zero_when_the_kernel_does_not_fit) {
  EXPECT_EQ(window_places(5, 3, 2, 0, 1), 2);
  EXPECT_EQ(window_places(2, 3, 1, 0, 1), 0);
  EXPECT_EQ(window_places(3, 3, 7, 0, 1), 1);
  EXPECT_EQ(window_places(5, 3, 1, 0, 3), 0);
}

TEST(GraphBuilder, parameters_carry_pytorch_names_and_only_matrices_decay) {
  GraphBuilder builder(2);
  int x = builder.conv2d(builder.input({4, 5, 5}, Dtype::f32), "conv", {.out_channels = 6, .groups = 2}, {});
  x = builder.batch_norm(x, "bn", {});
  builder.predict(builder.conv_transpose2d(x, "up", {.out_channels = 4, .groups = 2, .bias = false}, {}));
  const Graph graph = std::move(builder).finish();
  const std::vector<std::pair<std::string, Shape>> wanted{{"conv.weight", {6, 2, 3, 3}},
                                                          {"conv.bias", {6}},
                                                          {"bn.weight", {6}},
                                                          {"bn.bias", {6}},
                                                          {"up.weight", {6, 2, 2, 2}}};
  ASSERT_EQ(graph.parameters().size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(graph.parameters()[i].name, wanted[i].first);
    EXPECT_EQ(graph.parameters()[i].shape, wanted[i].second);
    EXPECT_EQ(graph.parameters()[i].decays, wanted[i].second.rank() == 4);
  }
  EXPECT_EQ(graph.states()[0].name, "bn.running_mean");
  EXPECT_EQ(graph.states()[1].name, "bn.running_var");
  EXPECT_EQ(graph.states()[1].init.value, 1.f);
}

TEST(GraphBuilder, tied_linear_shares_the_parameter_of_the_embedding) {
  GraphBuilder builder(1);
  const int x =
      builder.embedding(builder.input({3}, Dtype::i32), "tokens", {.vocabulary = 9, .width = 4}, {});
  builder.predict(builder.tied_linear(x, "head", "tokens"));
  EXPECT_EQ(builder.shape(2), Shape({1, 3, 9}));
  const Graph graph = std::move(builder).finish();
  EXPECT_EQ(graph.parameters().size(), 1u);
  EXPECT_EQ(graph.nodes()[0].parameters, graph.nodes()[1].parameters);
}

TEST(GraphBuilder, mistakes_are_refused_with_what_they_concern) {
  EXPECT_NE(refusal([](GraphBuilder& b) {
              const int x = b.input({4}, Dtype::f32);
              static_cast<void>(b.linear(x, "fc", {.out_features = 2}, {}));
              static_cast<void>(b.linear(x, "fc", {.out_features = 2}, {}));
            }).find("fc.weight"),
            std::string::npos);
  EXPECT_NE(refusal([](GraphBuilder& b) {
              static_cast<void>(b.linear(b.input({4}, Dtype::i32), "fc", {.out_features = 2}, {}));
            }).find("i32"),
            std::string::npos);
  EXPECT_NE(
      refusal([](GraphBuilder& b) {
        static_cast<void>(b.embedding(b.input({4}, Dtype::f32), "wte", {.vocabulary = 3, .width = 2}, {}));
      }).find("f32"),
      std::string::npos);
  EXPECT_NE(refusal([](GraphBuilder& b) {
              static_cast<void>(b.tied_linear(b.input({4, 2}, Dtype::f32), "head", "nothing"));
            }).find("nothing"),
            std::string::npos);
  EXPECT_THROW(GraphBuilder(0), Error);
  EXPECT_THROW(static_cast<void>(GraphBuilder(1).shape(0)), Error);
  EXPECT_THROW(static_cast<void>(GraphBuilder(1).finish()), Error);
  GraphBuilder unpredicted(1);
  EXPECT_THROW(unpredicted.loss(MeanSquaredError{}), Error);
}

TEST(GraphBuilder, loss_makes_a_target_of_its_kind) {
  GraphBuilder builder(2);
  builder.predict(builder.linear(builder.input({4}, Dtype::f32), "fc", {.out_features = 3}, {}));
  builder.loss(SoftmaxCrossEntropy{});
  const Graph graph = std::move(builder).finish();
  EXPECT_EQ(graph.values()[static_cast<std::size_t>(graph.target())].dtype, Dtype::i32);
  EXPECT_EQ(graph.values()[static_cast<std::size_t>(graph.target())].shape, Shape({2}));
  EXPECT_EQ(graph.values()[static_cast<std::size_t>(graph.loss())].shape, Shape({2}));
}

TEST(OpNames, are_all_different) {
  const std::vector<OpSpec> all{Conv2d{},           ConvTranspose2d{},
                                BatchNorm{},        LayerNorm{},
                                Linear{},           Relu{},
                                LeakyRelu{},        Gelu{},
                                MaxPool{},          AveragePool{},
                                Dropout{},          GlobalAveragePool{},
                                Embedding{},        Add{},
                                Concat{},           ShortcutA{},
                                CausalAttention{},  PositionEmbedding{},
                                Flatten{},          Resize{},
                                TiedLinear{},       SoftmaxCrossEntropy{},
                                MeanSquaredError{}, SmoothL1{}};
  std::vector<std::string> names;
  for (const OpSpec& op : all) names.emplace_back(op_name(op));
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
  EXPECT_EQ(names.size(), std::variant_size_v<OpSpec>);
}

/// Work of the last node of a graph.
template <class Build>
Work work_of_last(Build build) {
  GraphBuilder builder(2);
  build(builder);
  const Graph graph = std::move(builder).finish();
  KernelRequest request{.graph = &graph, .node = &graph.nodes().back(), .fused = {}, .inputs = {}};
  for (int input : request.node->inputs) {
    request.inputs.push_back({graph.values()[static_cast<std::size_t>(input)].shape, Dtype::f32, nullptr});
  }
  return work_of(request, 4);
}

TEST(WorkOf, convolution_counts_multiply_adds_as_two) {
  const auto conv = [](GraphBuilder& b, int x) {
    b.predict(b.conv2d(x, "conv", {.out_channels = 6, .padding = {1, 1}, .groups = 2, .bias = false}, {}));
  };
  const Work first = work_of_last([&](GraphBuilder& b) { conv(b, b.input({4, 5, 5}, Dtype::f32)); });
  const double multiplies = 2 * 6 * 25 * (2 * 9);
  EXPECT_EQ(first.forward_flops, 2 * multiplies);
  EXPECT_EQ(first.backward_flops, 2 * multiplies) << "nobody wants the gradient of the graph's input";
  EXPECT_EQ(first.forward_bytes, 4 * (200 + 300 + 6 * 18));
  const Work inner = work_of_last([&](GraphBuilder& b) {
    conv(b, b.batch_norm(b.input({4, 5, 5}, Dtype::f32), "norm", {}));
  });
  EXPECT_EQ(inner.backward_flops, 4 * multiplies);
}

TEST(WorkOf, products_of_a_transformer) {
  const Work linear = work_of_last([](GraphBuilder& b) {
    const int x = b.apply(Gelu{}, {b.input({3, 5}, Dtype::f32)}, "gelu");
    b.predict(b.linear(x, "fc", {.out_features = 7}, {}));
  });
  EXPECT_EQ(linear.forward_flops, 2 * (2 * 3 * 5 * 7) + 2 * 3 * 7);
  const Work attention = work_of_last([](GraphBuilder& b) {
    const int x = b.layer_norm(b.input({4, 24}, Dtype::f32), "norm");
    b.predict(b.apply(CausalAttention{.heads = 2}, {x}, "attention"));
  });
  EXPECT_EQ(attention.forward_flops, 2 * 10 * (4 * 8 + 4 * 2)) << "10 of 16 pairs, two products, a softmax";
  EXPECT_EQ(attention.backward_flops, 2 * attention.forward_flops);
}

}  // namespace
}  // namespace lockstep::models
