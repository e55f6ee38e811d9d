// Every operation's gradient with respect to every input and parameter agrees with central differences in
// double.
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>

#include "one_kernel.h"

namespace lockstep::models::testing {
namespace {

constexpr double kStep = 1e-6;
constexpr double kTolerance = 5e-8;  ///< of |difference| / (1 + |gradient|); measured at most 6e-9

struct Case {
  std::string name;
  std::int64_t microbatch;
  BuildGraph build;
  std::int64_t rows = -1;
  friend std::ostream& operator<<(std::ostream& out, const Case& each) { return out << each.name; }
};

BuildGraph conv(const Shape& sample, const Conv2d& op) {
  return [=](GraphBuilder& b) { b.predict(b.conv2d(b.input(sample, Dtype::f32), "op", op, {})); };
}
BuildGraph conv_transpose(const Shape& sample, const ConvTranspose2d& op) {
  return [=](GraphBuilder& b) { b.predict(b.conv_transpose2d(b.input(sample, Dtype::f32), "op", op, {})); };
}
BuildGraph plain(const Shape& sample, const OpSpec& op) {
  return [=](GraphBuilder& b) { b.predict(b.apply(op, {b.input(sample, Dtype::f32)}, "op")); };
}
BuildGraph loss(const Shape& sample, const OpSpec& op) {
  return [=](GraphBuilder& b) {
    b.predict(b.apply(LeakyRelu{}, {b.input(sample, Dtype::f32)}, "x"));
    b.loss(op);
  };
}
BuildGraph batch_norm(const Shape& sample) {
  return [=](GraphBuilder& b) { b.predict(b.batch_norm(b.input(sample, Dtype::f32), "op", {})); };
}

BuildGraph concat(const Shape& sample, const std::vector<std::int64_t>& channels) {
  return [=](GraphBuilder& b) {
    const int x = b.input(sample, Dtype::f32);
    std::vector<int> parts;
    for (std::int64_t count : channels) {
      const Conv2d op{.out_channels = count, .kernel = {1, 1}};
      parts.push_back(b.conv2d(x, "part" + std::to_string(parts.size()), op, {}));
    }
    b.predict(b.apply(Concat{}, parts, "op"));
  };
}

std::vector<Case> convolution_cases() {
  return {
      {"conv_plain", 2, conv({3, 5, 4}, {.out_channels = 2})},
      {"conv_stride_padding", 1,
       conv({2, 7, 6}, {.out_channels = 3, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 0}})},
      {"conv_dilation", 1, conv({1, 7, 8}, {.out_channels = 2, .padding = {2, 1}, .dilation = {2, 3}})},
      {"conv_groups", 2, conv({4, 3, 3}, {.out_channels = 6, .padding = {1, 1}, .groups = 2})},
      {"conv_depthwise", 1, conv({3, 4, 4}, {.out_channels = 3, .groups = 3, .bias = false})},
      {"conv_1x1", 2, conv({3, 3, 2}, {.out_channels = 5, .kernel = {1, 1}, .stride = {2, 1}})},
      {"conv_transpose_upsample", 2, conv_transpose({3, 2, 3}, {.out_channels = 2})},
      {"conv_transpose_all", 1,
       conv_transpose({2, 3, 2}, {.out_channels = 3,
                                  .kernel = {3, 4},
                                  .stride = {3, 2},
                                  .padding = {1, 2},
                                  .output_padding = {2, 1},
                                  .dilation = {1, 2}})},
      {"conv_transpose_groups", 1,
       conv_transpose({4, 2, 2},
                      {.out_channels = 2, .kernel = {3, 3}, .padding = {1, 1}, .groups = 2, .bias = false})},
  };
}

std::vector<Case> norm_and_linear_cases() {
  const auto linear = [](GraphBuilder& b) {
    b.predict(b.linear(b.input({5}, Dtype::f32), "op", {.out_features = 4}, {}));
  };
  const auto sequence = [](GraphBuilder& b) {
    b.predict(b.linear(b.input({3, 5}, Dtype::f32), "op", {.out_features = 2, .bias = false}, {}));
  };
  const auto layer_norm = [](GraphBuilder& b) { b.predict(b.layer_norm(b.input({3, 7}, Dtype::f32), "op")); };
  const auto tied = [](GraphBuilder& b) {
    const int x = b.embedding(b.input({3}, Dtype::i32), "tokens", {.vocabulary = 7, .width = 4}, {});
    b.predict(b.tied_linear(x, "op", "tokens"));
  };
  const auto embedding = [](GraphBuilder& b) {
    b.predict(b.embedding(b.input({6}, Dtype::i32), "op", {.vocabulary = 5, .width = 3}, {}));
  };
  const auto position = [](GraphBuilder& b) {
    b.predict(b.position_embedding(b.input({3, 4}, Dtype::f32), "op", {.context = 5}, {}));
  };
  return {{"linear", 3, linear},
          {"linear_sequence", 2, sequence},
          {"tied_linear", 2, tied},
          {"layer_norm", 2, layer_norm},
          {"embedding", 2, embedding},
          {"position_embedding", 2, position},
          {"batch_norm_images", 3, batch_norm({2, 3, 2})},
          {"batch_norm_vectors", 5, batch_norm({3})}};
}

std::vector<Case> plain_cases() {
  const auto add = [](GraphBuilder& b) {
    const int x = b.input({2, 3}, Dtype::f32);
    b.predict(b.apply(Add{}, {x, b.apply(Relu{}, {x}, "other")}, "op"));
  };
  return {
      {"relu", 2, plain({3, 5}, Relu{})},
      {"leaky_relu", 2, plain({3, 5}, LeakyRelu{0.2f})},
      {"gelu_tanh", 2, plain({3, 5}, Gelu{true})},
      {"gelu_exact", 2, plain({3, 5}, Gelu{false})},
      {"max_pool", 2, plain({2, 5, 6}, MaxPool{})},
      {"max_pool_overlapping", 1, plain({2, 5, 7}, MaxPool{{3, 3}, {2, 2}, {1, 1}})},
      {"average_pool", 1, plain({2, 5, 6}, AveragePool{{2, 3}, {1, 2}, {1, 1}, true})},
      {"average_pool_without_padding", 1, plain({2, 5, 6}, AveragePool{{3, 2}, {2, 1}, {1, 1}, false})},
      {"global_average_pool", 2, plain({3, 2, 5}, GlobalAveragePool{})},
      {"dropout", 3, plain({7, 5}, Dropout{0.4f})},
      {"attention_one_head", 2, plain({4, 9}, CausalAttention{.heads = 1})},
      {"attention_heads_dropout", 2, plain({5, 12}, CausalAttention{.heads = 2, .dropout = 0.3f})},
      {"add", 2, add},
      {"concat_two", 2, concat({2, 2, 3}, {3, 2})},
      {"concat_three", 1, concat({1, 3, 1}, {1, 2, 4})},
      {"shortcut_a", 2, plain({2, 5, 4}, ShortcutA{.out_channels = 6})},
      {"shortcut_a_stride_3", 1, plain({1, 7, 5}, ShortcutA{.out_channels = 3, .stride = 3})},
      {"flatten", 2, plain({2, 3, 2}, Flatten{})},
      {"resize_2", 1, plain({2, 3, 4}, Resize{2})},
      {"resize_3", 2, plain({1, 2, 5}, Resize{3})},
  };
}

std::vector<Case> loss_cases() {
  return {
      {"cross_entropy", 5, loss({4}, SoftmaxCrossEntropy{})},
      {"cross_entropy_smoothed", 3, loss({4}, SoftmaxCrossEntropy{.label_smoothing = 0.1f})},
      {"cross_entropy_tokens_ignored", 2, loss({6, 3}, SoftmaxCrossEntropy{.ignore_index = 1})},
      {"cross_entropy_pixels", 2, loss({3, 2, 3}, SoftmaxCrossEntropy{.label_smoothing = 0.2f})},
      {"cross_entropy_padded", 4, loss({2, 3}, SoftmaxCrossEntropy{}), 3},
      {"mse", 3, loss({2, 4}, MeanSquaredError{})},
      {"mse_padded", 4, loss({3}, MeanSquaredError{}), 2},
      {"smooth_l1", 3, loss({2, 4}, SmoothL1{.beta = 0.7f})},
  };
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& part : {convolution_cases(), norm_and_linear_cases(), plain_cases(), loss_cases()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

/// Central difference of the objective with respect to one number.
double slope(OneKernel& kernel, double& number) {
  const double before = number;
  number = before + kStep;
  const double above = kernel.objective();
  number = before - kStep;
  const double below = kernel.objective();
  number = before;
  return (above - below) / (2 * kStep);
}

double worst_error(OneKernel& kernel, std::vector<double>& numbers, const std::vector<double>& gradient) {
  double worst = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double wanted = slope(kernel, numbers[i]);
    worst = std::max(worst, std::abs(gradient[i] - wanted) / (1 + std::abs(wanted)));
  }
  return worst;
}

/// Largest error over parameters and inputs, with `tamper` applied to the output gradient that backward sees.
double check(const Case& each, double tamper = 1) {
  OneKernel kernel(each.build, each.microbatch);
  kernel.pass.rows = each.rows;
  kernel.pass.seed = 5;
  kernel.pass.first_sample = 1000;
  kernel.forward();
  for (double& gradient : kernel.output_gradient) gradient *= tamper;
  kernel.backward();
  for (double& gradient : kernel.output_gradient) gradient /= tamper;
  const auto gradients = kernel.gradients;
  const auto input_gradients = kernel.input_gradients;
  double worst = worst_error(kernel, kernel.values, gradients);
  for (std::size_t i = 0; i < kernel.inputs.size(); ++i) {
    if (kernel.node().inputs[i] == kernel.graph().target()) continue;
    worst = std::max(worst, worst_error(kernel, kernel.inputs[i], input_gradients[i]));
  }
  return worst;
}

class Gradient : public ::testing::TestWithParam<Case> {};

TEST_P(Gradient, matches_finite_differences) { EXPECT_LT(check(GetParam()), kTolerance); }

INSTANTIATE_TEST_SUITE_P(Operation, Gradient, ::testing::ValuesIn(all_cases()),
                         [](const auto& each) { return each.param.name; });

TEST(GradientCheck, wrong_by_one_part_in_ten_thousand_fails) {
  for (const Case& each : {convolution_cases()[3], norm_and_linear_cases()[3], plain_cases()[11]}) {
    EXPECT_GT(check(each, 1.0001), kTolerance) << each.name;
  }
}

}  // namespace
}  // namespace lockstep::models::testing
