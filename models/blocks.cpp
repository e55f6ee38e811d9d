// Shared pieces of models.
#include "models/blocks.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>

#include "core/error.h"

namespace lockstep::models {

void expect_images(const Task& task, std::string_view model) {
  if (task.input.rank() == 3 && task.input_dtype == Dtype::f32) return;
  throw Error(
      Fault::config,
      fmt::format("model '{}' takes images [C, H, W] of f32, the data set has {} of {}", model,
                  task.input.text(), name_of(task.input_dtype)),
      task.input_dtype == Dtype::i32 ? "for tokens use model gpt2" : "for flat samples use model mlp");
}

void expect_labels(const Task& task, std::string_view model) {
  if (task.classes > 0 && task.target.count() == 1) return;
  throw Error(
      Fault::config,
      fmt::format("model '{}' wants one class label per sample, the data set has targets {} of {} classes",
                  model, task.target.text(), task.classes),
      "for fields use model unet");
}

Init he_fan_out(std::int64_t out_channels, Pair kernel) {
  return Init::normal(std::sqrt(2.f / static_cast<float>(out_channels * kernel[0] * kernel[1])));
}

Init uniform_fan_in(std::int64_t fan_in) {
  return Init::uniform(1.f / std::sqrt(static_cast<float>(fan_in)));
}

int conv_norm(GraphBuilder& builder, int x, const ConvNorm& block) {
  Conv2d spec = block.spec;
  spec.bias = false;
  x = builder.conv2d(x, block.conv, spec, he_fan_out(spec.out_channels, spec.kernel));
  return builder.batch_norm(x, block.norm, block.batch_norm, Init::constant(block.gamma));
}

int relu(GraphBuilder& builder, int x, const std::string& name) { return builder.apply(Relu{}, {x}, name); }

int dropout(GraphBuilder& builder, int x, double rate, const std::string& name) {
  return rate > 0 ? builder.apply(Dropout{static_cast<float>(rate)}, {x}, name) : x;
}

int flatten(GraphBuilder& builder, int x) {
  return builder.shape(x).rank() == 2 ? x : builder.apply(Flatten{}, {x}, "flatten");
}

int linear(GraphBuilder& builder, int x, const std::string& name, std::int64_t features) {
  const Shape in = builder.shape(x);
  const Init init = uniform_fan_in(in[in.rank() - 1]);
  return builder.linear(x, name, Linear{.out_features = features}, init, init);
}

}  // namespace lockstep::models
