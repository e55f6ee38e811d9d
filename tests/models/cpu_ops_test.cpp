// Every operation of the CPU backend against the reference in double: forward, the gradient of its input
// (seen through a layer before it), the gradients of its parameters, over one and over several microbatches.
#include <gtest/gtest.h>

#include "core/error.h"
#include "cpu_twin.h"

namespace lockstep::models::testing {
namespace {

struct Case {
  std::string name;
  BuildGraph build;
  std::int64_t microbatch = 3;
  double tolerance = 1e-5;
};

/// An operation on an image behind parameters, judged by the squared error of its output.
Case on_image(const std::string& name, const Shape& sample, const OpSpec& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.apply(spec, {image_behind_parameters(b, sample)}, "op"));
            b.loss(MeanSquaredError{});
          }};
}
Case on_sequence(const std::string& name, const Shape& sample, const OpSpec& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.apply(spec, {sequence_behind_parameters(b, sample)}, "op"));
            b.loss(MeanSquaredError{});
          }};
}
Case convolution(const std::string& name, const Shape& sample, const Conv2d& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.conv2d(image_behind_parameters(b, sample), "op", spec, {}));
            b.loss(MeanSquaredError{});
          }};
}
Case transposed(const std::string& name, const Shape& sample, const ConvTranspose2d& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.conv_transpose2d(image_behind_parameters(b, sample), "op", spec, {}));
            b.loss(MeanSquaredError{});
          }};
}

std::vector<Case> convolutions() {
  std::vector<Case> cases;
  for (std::int64_t in : {1, 3, 7, 16, 17}) {
    for (std::int64_t out : {1, 7, 16, 17}) {
      cases.push_back(convolution("conv_" + std::to_string(in) + "_to_" + std::to_string(out), {in, 6, 5},
                                  {.out_channels = out, .padding = {1, 1}}));
    }
  }
  cases.push_back(
      convolution("conv_no_bias", {3, 6, 5}, {.out_channels = 8, .padding = {1, 1}, .bias = false}));
  cases.push_back(
      convolution("conv_stride_2", {3, 7, 8}, {.out_channels = 5, .stride = {2, 2}, .padding = {1, 1}}));
  cases.push_back(
      convolution("conv_1x1_stride_2", {4, 7, 8}, {.out_channels = 6, .kernel = {1, 1}, .stride = {2, 2}}));
  cases.push_back(convolution("conv_oblong", {3, 9, 8},
                              {.out_channels = 5, .kernel = {5, 2}, .stride = {1, 3}, .padding = {2, 0}}));
  cases.push_back(
      convolution("conv_dilated", {3, 9, 9}, {.out_channels = 4, .padding = {2, 2}, .dilation = {2, 2}}));
  cases.push_back(
      convolution("conv_groups_2", {6, 6, 6}, {.out_channels = 4, .padding = {1, 1}, .groups = 2}));
  cases.push_back(
      convolution("conv_groups_wide", {32, 5, 5}, {.out_channels = 48, .padding = {1, 1}, .groups = 2}));
  cases.push_back(
      convolution("conv_depthwise", {9, 6, 6}, {.out_channels = 9, .padding = {1, 1}, .groups = 9}));
  cases.push_back(
      convolution("conv_depth_multiplier", {5, 6, 6}, {.out_channels = 10, .padding = {1, 1}, .groups = 5}));
  cases.push_back(convolution("conv_whole_image", {4, 5, 5}, {.out_channels = 3, .kernel = {5, 5}}));
  cases.push_back(convolution("conv_7x7", {3, 16, 16},
                              {.out_channels = 16, .kernel = {7, 7}, .stride = {2, 2}, .padding = {3, 3}}));
  cases.push_back(transposed("transposed", {3, 4, 5}, {.out_channels = 5}));
  cases.push_back(
      transposed("transposed_3x3", {8, 4, 5},
                 {.out_channels = 6, .kernel = {3, 3}, .padding = {1, 1}, .output_padding = {1, 1}}));
  cases.push_back(transposed("transposed_no_bias", {7, 4, 4}, {.out_channels = 17, .bias = false}));
  cases.push_back(transposed("transposed_groups", {6, 4, 4}, {.out_channels = 4, .groups = 2}));
  cases.push_back(transposed("transposed_dilated", {2, 4, 4},
                             {.out_channels = 3, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {2, 2}}));
  cases.push_back(transposed("transposed_output_padding_by_dilation", {2, 4, 4},
                             {.out_channels = 3,
                              .kernel = {3, 3},
                              .stride = {1, 1},
                              .padding = {2, 2},
                              .output_padding = {1, 1},
                              .dilation = {2, 2}}));
  return cases;
}

std::vector<Case> activations() {
  std::vector<Case> cases;
  const std::vector<std::pair<std::string, OpSpec>> specs{
      {"relu", Relu{}},          {"leaky", LeakyRelu{0.1F}},  {"leaky_negative", LeakyRelu{-0.2F}},
      {"gelu_tanh", Gelu{true}}, {"gelu_exact", Gelu{false}}, {"dropout", Dropout{0.3F}},
      {"no_dropout", Dropout{0}}};
  for (const auto& [name, spec] : specs) {
    cases.push_back(on_image(name + "_image", {7, 3, 5}, spec));
    cases.push_back(on_sequence(name + "_sequence", {5, 17}, spec));
    cases.push_back(on_sequence(name + "_rows", {33}, spec));
  }
  return cases;
}

std::vector<Case> pools() {
  std::vector<Case> cases;
  for (std::int64_t c : {1, 3, 16, 17}) {
    const std::string n = std::to_string(c);
    cases.push_back(on_image("max_pool_" + n, {c, 6, 8}, MaxPool{}));
    cases.push_back(on_image("max_pool_overlap_" + n, {c, 7, 9}, MaxPool{{3, 3}, {2, 2}, {1, 1}}));
    cases.push_back(on_image("average_pool_" + n, {c, 6, 8}, AveragePool{}));
    cases.push_back(
        on_image("average_pool_padded_" + n, {c, 7, 9}, AveragePool{{3, 3}, {2, 2}, {1, 1}, true}));
    cases.push_back(
        on_image("average_pool_inside_" + n, {c, 7, 9}, AveragePool{{3, 3}, {2, 2}, {1, 1}, false}));
    cases.push_back(on_image("global_pool_" + n, {c, 5, 7}, GlobalAveragePool{}));
  }
  cases.push_back(on_image("max_pool_oblong", {4, 9, 8}, MaxPool{{1, 3}, {2, 1}, {0, 1}}));
  return cases;
}

std::vector<Case> movers() {
  std::vector<Case> cases;
  cases.push_back(on_image("flatten_image", {7, 3, 5}, Flatten{}));
  cases.push_back(on_image("flatten_grey", {1, 3, 5}, Flatten{}));
  cases.push_back(on_sequence("flatten_sequence", {4, 6}, Flatten{}));
  cases.push_back(on_image("shortcut_a", {4, 6, 7}, ShortcutA{.out_channels = 10, .stride = 2}));
  cases.push_back(on_image("shortcut_a_same", {3, 4, 4}, ShortcutA{.out_channels = 3, .stride = 1}));
  for (std::int64_t scale : {1, 2, 4})
    cases.push_back(on_image("resize_" + std::to_string(scale), {3, 4, 5}, Resize{scale}));
  cases.push_back({"add_to_itself", [](GraphBuilder& b) {
                     const int x = image_behind_parameters(b, {3, 4, 5});
                     b.predict(b.apply(Add{}, {x, x}, "op"));
                     b.loss(MeanSquaredError{});
                   }});
  cases.push_back({"add_and_use_again", [](GraphBuilder& b) {
                     const int x = image_behind_parameters(b, {3, 4, 5});
                     const int y = b.conv2d(x, "conv", {.out_channels = 3, .padding = {1, 1}}, {});
                     const int z = b.apply(Add{}, {x, y}, "op");
                     b.predict(b.apply(Concat{}, {b.apply(Relu{}, {z}, "relu"), z, x}, "join"));
                     b.loss(MeanSquaredError{});
                   }});
  cases.push_back({"concat_images", [](GraphBuilder& b) {
                     const int x = image_behind_parameters(b, {3, 4, 5});
                     const int y = b.conv2d(x, "conv", {.out_channels = 7, .kernel = {1, 1}}, {});
                     b.predict(b.apply(Concat{}, {x, y, x}, "op"));
                     b.loss(SmoothL1{});
                   }});
  cases.push_back({"concat_sequences", [](GraphBuilder& b) {
                     const int x = sequence_behind_parameters(b, {3, 6});
                     b.predict(b.apply(Concat{}, {x, b.apply(Gelu{}, {x}, "gelu")}, "op"));
                     b.loss(MeanSquaredError{});
                   }});
  return cases;
}

Case language(const std::string& name, const BuildGraph& build) { return {name, build}; }

std::vector<Case> sequences() {
  std::vector<Case> cases;
  for (std::int64_t width : {1, 3, 16, 17, 65}) {
    cases.push_back(language("linear_" + std::to_string(width), [=](GraphBuilder& b) {
      const int x = sequence_behind_parameters(b, {5, 7});
      b.predict(b.linear(x, "op", {.out_features = width}, {}));
      b.loss(MeanSquaredError{});
    }));
    cases.push_back(language("layer_norm_" + std::to_string(width), [=](GraphBuilder& b) {
      const int x = sequence_behind_parameters(b, {5, width});
      b.predict(b.layer_norm(x, "op", {.epsilon = 1e-3F}));
      b.loss(MeanSquaredError{});
    }));
  }
  cases.push_back(language("linear_no_bias", [](GraphBuilder& b) {
    const int x = b.apply(Flatten{}, {image_behind_parameters(b, {3, 4, 2})}, "flat");
    b.predict(b.linear(x, "op", {.out_features = 9, .bias = false}, {}));
    b.loss(SmoothL1{0.5F});
  }));
  struct Attention {
    std::int64_t time, heads, depth;
    float dropout;
  };
  for (const auto& a : {Attention{1, 1, 4, 0},
                        {7, 2, 3, 0},
                        {64, 2, 8, 0},
                        {65, 1, 5, 0},
                        {130, 2, 4, 0},
                        {9, 3, 4, 0.25F},
                        {70, 1, 4, 0.25F}}) {
    cases.push_back(language("attention_" + std::to_string(a.time) + "_" + std::to_string(a.heads) + "_" +
                                 std::to_string(static_cast<int>(a.dropout * 100)),
                             [=](GraphBuilder& b) {
                               const Shape sample{a.time, 3 * a.heads * a.depth};
                               const int x = sequence_behind_parameters(b, sample);
                               b.predict(b.apply(CausalAttention{a.heads, a.dropout}, {x}, "op"));
                               b.loss(MeanSquaredError{});
                             }));
  }
  cases.push_back(language("embedding_and_tied_output", [](GraphBuilder& b) {
    int x = b.embedding(b.input({6}, Dtype::i32), "tokens", {.vocabulary = 5, .width = 7}, {});
    x = b.position_embedding(x, "positions", {.context = 9}, {});
    b.predict(b.tied_linear(x, "head", "tokens"));
    b.loss(SoftmaxCrossEntropy{});
  }));
  cases.push_back(language("embedding_alone", [](GraphBuilder& b) {
    int x = b.embedding(b.input({6}, Dtype::i32), "tokens", {.vocabulary = 5, .width = 7}, {});
    b.predict(b.linear(x, "head", {.out_features = 5}, {}));
    b.loss(SoftmaxCrossEntropy{.label_smoothing = 0.1F, .ignore_index = 2});
  }));
  return cases;
}

std::vector<Case> losses() {
  std::vector<Case> cases;
  for (std::int64_t classes : {5, 16, 65}) {
    for (float smoothing : {0.0F, 0.2F}) {
      const std::string n = std::to_string(classes) + (smoothing > 0 ? "_smooth" : "");
      const SoftmaxCrossEntropy loss{.label_smoothing = smoothing, .ignore_index = 3};
      cases.push_back({"cross_entropy_rows_" + n,
                       [=](GraphBuilder& b) {
                         b.predict(sequence_behind_parameters(b, {classes}));
                         b.loss(loss);
                       },
                       7});
      cases.push_back({"cross_entropy_pixels_" + n, [=](GraphBuilder& b) {
                         b.predict(image_behind_parameters(b, {classes, 3, 4}));
                         b.loss(loss);
                       }});
    }
  }
  cases.push_back({"mse_image", [](GraphBuilder& b) {
                     b.predict(image_behind_parameters(b, {3, 40, 50}));
                     b.loss(MeanSquaredError{});
                   }});
  cases.push_back({"smooth_l1_image", [](GraphBuilder& b) {
                     b.predict(image_behind_parameters(b, {3, 4, 5}));
                     b.loss(SmoothL1{0.7F});
                   }});
  return cases;
}

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class CpuOps : public ::testing::TestWithParam<Case> {};

TEST_P(CpuOps, agree_with_the_reference) {
  const Case& c = GetParam();
  const Graph graph = make_graph(c.build, c.microbatch);
  expect_agreement(graph, {}, c.tolerance);
  expect_agreement(graph, {.microbatches = 3, .fuse = false}, c.tolerance);
  expect_agreement(graph, {.mode = Mode::evaluate, .reuse_memory = false}, c.tolerance);
  expect_agreement(graph, {.rows = 1}, c.tolerance);
  expect_agreement(graph, {.microbatches = 2, .threads = 2}, c.tolerance);
}

/// bf16 keeps 8 significant bits: 2^-8 a rounding, and a few roundings between input and result.
double bf16_tolerance(const Case& c) {
  // Rounding may move a maximum to its neighbour, and with it the whole gradient.
  return c.name.starts_with("max_pool") ? 0.2 : 0.06;
}

TEST_P(CpuOps, agree_with_the_reference_in_bf16) {
  const Case& c = GetParam();
  const Graph graph = make_graph(c.build, c.microbatch);
  try {
    expect_agreement(graph, {.compute = Dtype::bf16}, bf16_tolerance(c));
  } catch (const Error& error) {
    if (error.fault() == Fault::device) GTEST_SKIP() << error.what();
    throw;
  }
  expect_agreement(graph, {.microbatches = 3, .fuse = false, .compute = Dtype::bf16}, bf16_tolerance(c));
}

const auto kName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(convolution, CpuOps, ::testing::ValuesIn(convolutions()), kName);
INSTANTIATE_TEST_SUITE_P(activation, CpuOps, ::testing::ValuesIn(activations()), kName);
INSTANTIATE_TEST_SUITE_P(pooling, CpuOps, ::testing::ValuesIn(pools()), kName);
INSTANTIATE_TEST_SUITE_P(moving, CpuOps, ::testing::ValuesIn(movers()), kName);
INSTANTIATE_TEST_SUITE_P(sequence, CpuOps, ::testing::ValuesIn(sequences()), kName);
INSTANTIATE_TEST_SUITE_P(loss, CpuOps, ::testing::ValuesIn(losses()), kName);

/// The agreement test can fail: another seed of dropout, another epsilon.
TEST(CpuTwin, different_dropout_masks_are_noticed) {
  const auto build = [](float rate) {
    return make_graph(
        [=](GraphBuilder& b) {
          b.predict(b.apply(Dropout{rate}, {sequence_behind_parameters(b, {8})}, "op"));
          b.loss(MeanSquaredError{});
        },
        3);
  };
  const RunResult one = run_cpu(build(0.3F), {});
  const RunResult other = run_reference(build(0.4F), {});
  EXPECT_GT(relative_error(one.prediction, other.prediction), 1e-2);
}

TEST(CpuOpsErrors, label_out_of_range_is_refused_naming_it) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        b.predict(sequence_behind_parameters(b, {4}));
        b.loss(SoftmaxCrossEntropy{});
      },
      3);
  try {
    (void)run_cpu(graph, {.ids = 1000});
    FAIL() << "a label beyond the classes was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_NE(std::string(error.what()).find("there are 4 classes"), std::string::npos) << error.what();
  }
}

TEST(CpuOpsErrors, token_out_of_range_is_refused_naming_the_node) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        const int x = b.embedding(b.input({6}, Dtype::i32), "tokens", {.vocabulary = 5, .width = 7}, {});
        b.predict(b.linear(x, "head", {.out_features = 2000}, {}));
        b.loss(SoftmaxCrossEntropy{});
      },
      3);
  try {
    (void)run_cpu(graph, {.ids = 1000});
    FAIL() << "a token beyond the vocabulary was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_NE(std::string(error.what()).find("node 'tokens'"), std::string::npos) << error.what();
  }
}

TEST(CpuOpsErrors, linear_over_an_image_is_refused) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        b.predict(b.linear(b.input({3, 4, 5}, Dtype::f32), "op", {.out_features = 2}, {}));
        b.loss(MeanSquaredError{});
      },
      2);
  EXPECT_THROW((void)run_cpu(graph, {}), Error);
}

}  // namespace
}  // namespace lockstep::models::testing
