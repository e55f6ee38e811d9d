// Every model against what is published about it: parameter counts, names, shapes; and what it refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "model_support.h"

namespace lockstep::models {
namespace {

const Shape kImage{3, 224, 224};
const Shape kCifar{3, 32, 32};

std::int64_t count(std::string_view name, const Given& given, const Task& task) {
  return parameters_of(graph_of(name, given, task));
}
const ParameterSpec& parameter(const Graph& graph, std::string_view name) {
  for (const auto& each : graph.parameters()) {
    if (each.name == name) return each;
  }
  throw Error(Fault::internal, "no parameter " + std::string(name));
}
std::string refusal(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "no error";
}
void expect_says(const std::string& what, const std::string& part) {
  EXPECT_NE(what.find(part), std::string::npos) << what;
}

struct Published {
  const char* model;
  Given given;
  Task task;
  std::int64_t parameters;
};

TEST(Models, parameter_counts_are_the_published_ones) {
  const Published rows[] = {
      {"lenet", {}, images({1, 28, 28}, 10), 61706},
      {"lenet", {}, images({1, 32, 32}, 10), 61706},
      {"mlp",
       {},
       images({1, 28, 28}, 10),
       784 * 256 + 256 + 256 * 128 + 128 + 128 * 100 + 100 + 100 * 10 + 10},
      {"resnet", {}, images(kCifar, 10), 269722},
      {"resnet", {{"shortcut", "B"}}, images(kCifar, 10), 272474},
      {"resnet", {{"depth", "32"}}, images(kCifar, 10), 464154},
      {"resnet", {{"depth", "44"}}, images(kCifar, 10), 658586},
      {"resnet", {{"depth", "56"}}, images(kCifar, 10), 853018},
      {"resnet", {{"depth", "110"}}, images(kCifar, 10), 1727962},
      {"resnet", {{"depth", "18"}}, images(kImage, 1000), 11689512},
      {"resnet", {{"depth", "34"}}, images(kImage, 1000), 21797672},
      {"resnet", {{"depth", "50"}}, images(kImage, 1000), 25557032},
      {"resnet", {{"depth", "101"}}, images(kImage, 1000), 44549160},
      {"resnet", {{"depth", "152"}}, images(kImage, 1000), 60192808},
      {"resnet", {{"depth", "18"}, {"stem", "3x3"}}, images(kCifar, 10), 11173962},
      {"vgg16", {}, images(kImage, 1000), 138357544},
      {"vgg16", {{"batch_norm", "true"}}, images(kImage, 1000), 138365992},
      {"gpt2", {{"size", "124M"}}, tokens(1024, 50257), 124439808},
      {"gpt2", {{"size", "124M"}}, tokens(64, 50257), 124439808},
      {"gpt2", {{"size", "355M"}}, tokens(1024, 50257), 354823168},
      {"gpt2", {{"size", "774M"}}, tokens(1024, 50257), 774030080},
      {"gpt2", {{"size", "1558M"}}, tokens(1024, 50257), 1557611200},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(count(row.model, row.given, row.task), row.parameters)
        << row.model << (row.given.empty() ? "" : " " + row.given[0].second);
  }
}

TEST(Models, small_cnn_stays_below_half_a_million) {
  EXPECT_LT(count("cnn", {}, images({1, 28, 28}, 10)), 500000);
}

TEST(Models, predictions_have_the_shape_of_the_task) {
  const auto prediction = [](const char* model, const Given& given, const Task& task) {
    const Graph graph = graph_of(model, given, task, 2);
    return graph.values()[static_cast<std::size_t>(graph.prediction())].shape;
  };
  EXPECT_EQ(prediction("resnet", {{"depth", "50"}}, images(kImage, 1000)), (Shape{2, 1000}));
  EXPECT_EQ(prediction("mlp", {}, fields({3}, {2, 5})), (Shape{2, 10}));
  EXPECT_EQ(prediction("gpt2", {}, tokens(16, 65)), (Shape{2, 16, 65}));
  EXPECT_EQ(prediction("unet", {}, fields({1, 16, 32}, {1, 64, 128})), (Shape{2, 1, 64, 128}));
  EXPECT_EQ(prediction("unet", {}, fields({3, 16, 16}, {2, 16, 16})), (Shape{2, 2, 16, 16}));
  Task labels = fields({16, 64, 96}, {64, 96});
  labels.classes = 3;
  EXPECT_EQ(prediction("unet", {}, labels), (Shape{2, 3, 64, 96}));
  EXPECT_EQ(prediction("vgg16", {{"channels", "8"}, {"hidden", "16"}}, images({3, 448, 448}, 7)),
            (Shape{2, 7}));
}

TEST(Models, names_are_unique_and_node_names_start_parameter_names) {
  for (const auto& [model, task] :
       {std::pair{"resnet", images(kCifar, 10)}, std::pair{"unet", fields({1, 16, 16}, {1, 16, 16})},
        std::pair{"gpt2", tokens(8, 11)}, std::pair{"vgg16", images(kCifar, 10)}}) {
    const Graph graph = graph_of(model, {}, task);
    std::set<std::string> names;
    for (const auto& node : graph.nodes()) {
      EXPECT_TRUE(names.insert(node.name).second) << node.name;
      if (std::holds_alternative<TiedLinear>(node.spec)) continue;
      for (const int index : node.parameters) {
        EXPECT_TRUE(graph.parameters()[static_cast<std::size_t>(index)].name.starts_with(node.name + "."));
      }
    }
  }
}

TEST(ResNet, fifty_layers_have_torchvision_names_shapes_and_the_stride_in_3x3) {
  const Graph graph = graph_of("resnet", {{"depth", "50"}}, images(kImage, 1000));
  EXPECT_EQ(parameter(graph, "conv1.weight").shape, (Shape{64, 3, 7, 7}));
  EXPECT_EQ(parameter(graph, "layer1.0.downsample.0.weight").shape, (Shape{256, 64, 1, 1}));
  EXPECT_EQ(parameter(graph, "layer1.0.downsample.1.bias").shape, (Shape{256}));
  EXPECT_EQ(parameter(graph, "layer4.2.conv3.weight").shape, (Shape{2048, 512, 1, 1}));
  EXPECT_EQ(parameter(graph, "fc.weight").shape, (Shape{1000, 2048}));
  EXPECT_EQ(graph.states().size(), 2u * 53u);
  for (const auto& node : graph.nodes()) {
    if (node.name == "layer2.0.conv1") {
      EXPECT_EQ(std::get<Conv2d>(node.spec).stride, (Pair{1, 1}));
    }
    if (node.name == "layer2.0.conv2") {
      EXPECT_EQ(std::get<Conv2d>(node.spec).stride, (Pair{2, 2}));
    }
  }
}

TEST(ResNet, convolutions_start_he_fan_out_and_last_gammas_may_start_at_zero) {
  const Graph plain = graph_of("resnet", {{"depth", "18"}}, images(kImage, 10));
  EXPECT_FLOAT_EQ(parameter(plain, "conv1.weight").init.value, std::sqrt(2.f / (64 * 49)));
  EXPECT_FLOAT_EQ(parameter(plain, "layer1.0.bn2.weight").init.value, 1);
  const Graph zero = graph_of("resnet", {{"depth", "18"}, {"zero_last_gamma", "true"}}, images(kImage, 10));
  EXPECT_FLOAT_EQ(parameter(zero, "layer1.0.bn2.weight").init.value, 0);
  EXPECT_FLOAT_EQ(parameter(zero, "layer1.0.bn1.weight").init.value, 1);
  EXPECT_FLOAT_EQ(parameter(zero, "layer2.0.downsample.1.weight").init.value, 1);
}

TEST(ResNet, cifar_depths_have_the_common_names) {
  const Graph option_b = graph_of("resnet", {{"shortcut", "B"}}, images(kCifar, 10));
  EXPECT_EQ(parameter(option_b, "layer2.0.shortcut.0.weight").shape, (Shape{32, 16, 1, 1}));
  EXPECT_EQ(parameter(option_b, "linear.weight").shape, (Shape{10, 64}));
  const Graph option_a = graph_of("resnet", {}, images(kCifar, 10));
  EXPECT_EQ(
      std::ranges::count_if(option_a.nodes(),
                            [](const Node& node) { return std::holds_alternative<ShortcutA>(node.spec); }),
      2);
}

TEST(Vgg16, layers_are_numbered_as_in_torchvision) {
  const Graph plain = graph_of("vgg16", {}, images(kImage, 1000));
  EXPECT_EQ(parameter(plain, "features.28.weight").shape, (Shape{512, 512, 3, 3}));
  EXPECT_EQ(parameter(plain, "classifier.0.weight").shape, (Shape{4096, 25088}));
  EXPECT_EQ(parameter(plain, "classifier.6.bias").shape, (Shape{1000}));
  const Graph norm = graph_of("vgg16", {{"batch_norm", "true"}}, images(kImage, 1000));
  EXPECT_EQ(parameter(norm, "features.40.weight").shape, (Shape{512, 512, 3, 3}));
  EXPECT_EQ(parameter(norm, "features.41.weight").shape, (Shape{512}));
}

TEST(Gpt2, projections_into_the_residual_start_smaller) {
  const Graph graph = graph_of("gpt2", {{"layers", "8"}}, tokens(16, 65));
  EXPECT_FLOAT_EQ(parameter(graph, "transformer.h.0.attn.c_attn.weight").init.value, 0.02f);
  EXPECT_FLOAT_EQ(parameter(graph, "transformer.h.7.attn.c_proj.weight").init.value, 0.005f);
  EXPECT_FLOAT_EQ(parameter(graph, "transformer.h.7.mlp.c_proj.weight").init.value, 0.005f);
  EXPECT_FLOAT_EQ(parameter(graph, "transformer.h.3.mlp.c_fc.bias").init.value, 0);
  EXPECT_EQ(parameter(graph, "transformer.wpe.weight").shape, (Shape{16, 128}));
}

TEST(Gpt2, given_keys_override_a_published_size) {
  const Graph graph =
      graph_of("gpt2", {{"size", "124M"}, {"layers", "2"}, {"context", "32"}}, tokens(16, 65));
  EXPECT_EQ(parameter(graph, "transformer.wpe.weight").shape, (Shape{32, 768}));
  EXPECT_THROW((void)parameter(graph, "transformer.h.2.ln_1.weight"), Error);
}

TEST(Gpt2, no_dropout_nodes_at_rate_zero) {
  const auto dropouts = [](const char* rate) {
    const Graph graph = graph_of("gpt2", {{"dropout", rate}}, tokens(16, 65));
    return std::ranges::count_if(graph.nodes(),
                                 [](const Node& node) { return std::holds_alternative<Dropout>(node.spec); });
  };
  EXPECT_EQ(dropouts("0"), 0);
  EXPECT_EQ(dropouts("0.1"), 9);
}

TEST(Norms, synchronisation_reaches_every_norm) {
  for (const auto& [model, task] :
       {std::pair{"resnet", images(kCifar, 10)}, std::pair{"cnn", images(kCifar, 10)},
        std::pair{"unet", fields({1, 16, 16}, {1, 16, 16})}}) {
    for (const bool on : {false, true}) {
      const Graph graph = graph_of(model, {{"synchronised_norm", on ? "true" : "false"}}, task);
      for (const auto& node : graph.nodes()) {
        if (const auto* norm = std::get_if<BatchNorm>(&node.spec)) {
          EXPECT_EQ(norm->synchronised, on) << node.name;
        }
      }
    }
  }
}

TEST(Models, unfit_tasks_are_refused_with_a_cure) {
  expect_says(refusal([] { (void)graph_of("resnet", {}, tokens(8, 5)); }), "takes images [C, H, W] of f32");
  expect_says(refusal([] { (void)graph_of("mlp", {}, tokens(8, 5)); }), "takes f32");
  expect_says(refusal([] { (void)graph_of("gpt2", {}, images(kCifar, 10)); }), "takes tokens [T]");
  expect_says(refusal([] {
                (void)graph_of("cnn", {}, fields({1, 8, 8}, {1, 8, 8}));
              }),
              "one class label per sample");
  expect_says(refusal([] { (void)graph_of("unet", {}, images({3, 32, 32}, 10)); }), "cannot map");
  expect_says(refusal([] { (void)graph_of("unet", {}, fields({1, 16, 16}, {1, 24, 24})); }), "cannot map");
  expect_says(refusal([] { (void)graph_of("unet", {}, fields({1, 12, 12}, {1, 12, 12})); }), "with 3 levels");
  expect_says(refusal([] { (void)graph_of("vgg16", {}, images({3, 256, 256}, 10)); }), "8 x 8");
  expect_says(refusal([] { (void)graph_of("lenet", {}, images({1, 4, 4}, 10)); }), "does not fit");
  expect_says(refusal([] { (void)graph_of("gpt2", {{"context", "4"}}, tokens(8, 5)); }), "8 positions");
}

TEST(Models, bad_settings_are_refused_by_name) {
  expect_says(refusal([] { (void)make_model("resnet", {{"depth", "19"}}); }), "depth");
  expect_says(refusal([] { (void)make_model("mlp", {{"hidden", "[4, 0]"}}); }), "hidden");
  expect_says(refusal([] { (void)make_model("cnn", {{"channels", "[]"}}); }), "channels");
  expect_says(refusal([] { (void)make_model("gpt2", {{"heads", "3"}}); }), "width");
  expect_says(refusal([] { (void)make_model("resnat"); }), "resnat");
}

TEST(Losses, settings_reach_the_operation) {
  const auto smooth =
      std::get<SoftmaxCrossEntropy>(make_loss("softmax_cross_entropy", {{"label_smoothing", "0.1"}}));
  EXPECT_FLOAT_EQ(smooth.label_smoothing, 0.1f);
  EXPECT_EQ(smooth.ignore_index, -100);
  EXPECT_FLOAT_EQ(std::get<SmoothL1>(make_loss("smooth_l1", {{"beta", "2"}})).beta, 2);
  EXPECT_TRUE(std::holds_alternative<MeanSquaredError>(make_loss("mse")));
}

TEST(Losses, a_loss_that_does_not_fit_the_task_is_refused) {
  const auto model = make_model("mlp");
  const OpSpec mse = make_loss("mse"), classes = make_loss("softmax_cross_entropy");
  expect_says(refusal([&] { (void)build_graph(*model, images(kCifar, 10), 1, &mse); }), "10 classes");
  expect_says(refusal([&] { (void)build_graph(*model, fields({3}, {3}), 1, &classes); }),
              "fields as targets");
  Task per_pixel = fields({1, 8, 8}, {8, 8});
  per_pixel.classes = 3;
  expect_says(refusal([&] { (void)build_graph(*model, per_pixel, 1, &classes); }), "1 numbers per sample");
}

TEST(Losses, a_graph_without_loss_ends_at_the_prediction) {
  const Graph graph = build_graph(*make_model("mlp"), images({1, 4, 4}, 3), 2, nullptr);
  EXPECT_EQ(graph.loss(), -1);
  EXPECT_EQ(graph.target(), -1);
  EXPECT_EQ(graph.nodes().back().output, graph.prediction());
}

}  // namespace
}  // namespace lockstep::models
