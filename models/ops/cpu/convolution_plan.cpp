#include "models/ops/cpu/convolution_plan.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "models/ops/cpu/kernel_base.h"
#include "models/ops/cpu/rowwise.h"
#include "models/ops/cpu/weight_order.h"

namespace lockstep::models::cpu {
namespace {

using onednn::Dims;
using onednn::Layout;
using onednn::Tag;
using onednn::Type;

Type type_of(Dtype dtype) { return dtype == Dtype::bf16 ? Type::bf16 : Type::f32; }

Layout image(const Shape& shape, Dtype dtype) {
  return {{shape[0], shape[1], shape[2], shape[3]}, type_of(dtype), Tag::nhwc};
}

Dims weight_dims(const ConvolutionGeometry& g) {
  const std::int64_t in = g.source[1] / g.groups;
  if (g.groups == 1) return {g.destination[1], in, g.kernel[0], g.kernel[1]};
  return {g.groups, g.destination[1] / g.groups, in, g.kernel[0], g.kernel[1]};
}

/// The padding after the last element: any value that gives the destination's extent does; the symmetric one
/// when it does.
std::int64_t padding_high(const ConvolutionGeometry& g, std::size_t axis) {
  const int extent = static_cast<int>(axis) + 2;
  const std::int64_t window = (g.kernel[axis] - 1) * g.dilation[axis] + 1;
  const std::int64_t least =
      (g.destination[extent] - 1) * g.stride[axis] + window - g.source[extent] - g.padding[axis];
  return std::clamp(g.padding[axis], least, least + g.stride[axis] - 1);
}

onednn::ConvolutionShape shape_of(const ConvolutionGeometry& g, Dtype compute) {
  onednn::ConvolutionShape shape;
  shape.source = image(g.source, compute);
  shape.destination = image(g.destination, compute);
  shape.weights = Layout(weight_dims(g), type_of(compute), Tag::any);
  shape.strides = {g.stride[0], g.stride[1]};
  shape.dilations = {g.dilation[0] - 1, g.dilation[1] - 1};
  shape.padding_low = {g.padding[0], g.padding[1]};
  shape.padding_high = {padding_high(g, 0), padding_high(g, 1)};
  return shape;
}

constexpr int kScratch = DNNL_ARG_SCRATCHPAD;

}  // namespace

ConvolutionPlan::ConvolutionPlan(const ConvolutionGeometry& geometry, const Wants& wants) {
  onednn::ConvolutionShape shape = shape_of(geometry, wants.compute);
  if (wants.bias) shape.bias = Layout({geometry.destination[1]}, Type::f32, Tag::x);
  dnnl::primitive_attr forward_attributes = onednn::attributes();
  if (wants.relu) {
    dnnl::post_ops after;
    onednn::append_relu(after, wants.slope);
    forward_attributes.set_post_ops(after);
  }
  const auto forward = onednn::convolution_forward(shape, forward_attributes);
  const auto plain = onednn::attributes();
  const bool needs_data = wants.transposed || wants.input_gradient;
  const bool needs_forward = !wants.transposed || wants.input_gradient;
  std::optional<dnnl::convolution_backward_data::primitive_desc> data;
  if (needs_data) data = onednn::convolution_backward_data(shape, plain, forward);
  stored_ = wants.transposed ? data->weights_desc() : forward.weights_desc();
  weight_order_ = order_of(stored_);
  if (needs_forward) plan_forward(forward, wants);
  if (data) plan_data(*data);
  onednn::ConvolutionShape gradient = shape;
  gradient.weights = Layout(weight_dims(geometry), Type::f32, Tag::any);
  plan_weights(onednn::convolution_backward_weights(gradient, plain, forward), wants);
}

/// Sets up the reorder from the stored weight when the primitive wants another layout.
void ConvolutionPlan::adopt(Step& step, const Layout& weight, std::size_t scratch) {
  step.own_scratch = padded(scratch);
  if (weight != stored_) {
    const dnnl::reorder::primitive_desc pd(onednn::engine(), stored_, onednn::engine(), weight);
    step.reorder = {dnnl::reorder(pd), {{DNNL_ARG_FROM, stored_}, {DNNL_ARG_TO, weight}}};
    step.weight_bytes = padded(weight.get_size());
  }
  scratch_bytes_ = std::max(scratch_bytes_, step.own_scratch + step.weight_bytes);
}

void ConvolutionPlan::plan_forward(const dnnl::convolution_forward::primitive_desc& pd, const Wants& wants) {
  std::vector<onednn::Primitive::Argument> arguments{{DNNL_ARG_SRC, pd.src_desc()},
                                                     {DNNL_ARG_WEIGHTS, pd.weights_desc()},
                                                     {DNNL_ARG_DST, pd.dst_desc()},
                                                     {kScratch, pd.scratchpad_desc()}};
  if (wants.bias) arguments.push_back({DNNL_ARG_BIAS, pd.bias_desc()});
  forward_.primitive = {dnnl::convolution_forward(pd), arguments};
  adopt(forward_, pd.weights_desc(), pd.scratchpad_desc().get_size());
}

void ConvolutionPlan::plan_data(const dnnl::convolution_backward_data::primitive_desc& pd) {
  data_.primitive = {dnnl::convolution_backward_data(pd),
                     {{DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                      {DNNL_ARG_WEIGHTS, pd.weights_desc()},
                      {DNNL_ARG_DIFF_SRC, pd.diff_src_desc()},
                      {kScratch, pd.scratchpad_desc()}}};
  adopt(data_, pd.weights_desc(), pd.scratchpad_desc().get_size());
}

void ConvolutionPlan::plan_weights(const dnnl::convolution_backward_weights::primitive_desc& pd,
                                   const Wants& wants) {
  std::vector<onednn::Primitive::Argument> arguments{{DNNL_ARG_SRC, pd.src_desc()},
                                                     {DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                                                     {DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc()},
                                                     {kScratch, pd.scratchpad_desc()}};
  if (wants.bias) {
    arguments.push_back({DNNL_ARG_DIFF_BIAS, pd.diff_bias_desc()});
    bias_count_ = pd.diff_bias_desc().get_size() / sizeof(float);
  }
  weights_.primitive = {dnnl::convolution_backward_weights(pd), arguments};
  weights_.own_scratch = padded(pd.scratchpad_desc().get_size());
  gradient_count_ = pd.diff_weights_desc().get_size() / sizeof(float);
  auto places = places_of(pd.diff_weights_desc());
  auto stored = places_of(stored_);
  // Equal places do not suffice: the gradient's layout may pad more channels, which oneDNN clears.
  if (places != stored || gradient_count_ != stored_.get_size() / size_of(wants.compute)) {
    gradient_places_ = std::move(places);
    stored_places_ = std::move(stored);
  }
  scratch_bytes_ = std::max(scratch_bytes_, weights_.own_scratch + padded(gradient_count_ * sizeof(float)) +
                                                padded(bias_count_ * sizeof(float)));
}

const void* ConvolutionPlan::weight_for(Step& step, const void* stored, void* scratch) {
  step.primitive.set(kScratch, scratch);
  if (!step.reorder) return stored;
  void* reordered = static_cast<std::byte*>(scratch) + step.own_scratch;
  step.reorder.set(DNNL_ARG_FROM, stored);
  step.reorder.set(DNNL_ARG_TO, reordered);
  step.reorder.run();
  return reordered;
}

void ConvolutionPlan::convolve(const void* source, const Weights& weights, void* destination, void* scratch) {
  forward_.primitive.set(DNNL_ARG_WEIGHTS, weight_for(forward_, weights.weight, scratch));
  forward_.primitive.set(DNNL_ARG_SRC, source);
  forward_.primitive.set(DNNL_ARG_DST, destination);
  if (bias_count_ > 0) forward_.primitive.set(DNNL_ARG_BIAS, weights.bias);
  forward_.primitive.run();
}

void ConvolutionPlan::convolve_back(const void* destination, const Weights& weights, void* source,
                                    void* scratch) {
  data_.primitive.set(DNNL_ARG_WEIGHTS, weight_for(data_, weights.weight, scratch));
  data_.primitive.set(DNNL_ARG_DIFF_DST, destination);
  data_.primitive.set(DNNL_ARG_DIFF_SRC, source);
  data_.primitive.run();
}

void ConvolutionPlan::weight_gradient(const void* source, const void* destination,
                                      const WeightGradients& gradients, void* scratch) {
  auto* own = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + weights_.own_scratch);
  float* own_bias = own + padded(gradient_count_ * sizeof(float)) / sizeof(float);
  const bool moves = !gradient_places_.empty();
  weights_.primitive.set(kScratch, scratch);
  weights_.primitive.set(DNNL_ARG_SRC, source);
  weights_.primitive.set(DNNL_ARG_DIFF_DST, destination);
  weights_.primitive.set(DNNL_ARG_DIFF_WEIGHTS, moves || gradients.add ? own : gradients.weight);
  if (bias_count_ > 0) weights_.primitive.set(DNNL_ARG_DIFF_BIAS, gradients.add ? own_bias : gradients.bias);
  weights_.primitive.run();
  if (gradients.add && bias_count_ > 0)
    store(own_bias, gradients.bias, static_cast<std::int64_t>(bias_count_), true, 1);
  if (!moves && gradients.add)
    store(own, gradients.weight, static_cast<std::int64_t>(gradient_count_), true, 1);
  for (std::size_t i = 0; i < stored_places_.size(); ++i) {
    float& to = gradients.weight[stored_places_[i]];
    to = own[gradient_places_[i]] + (gradients.add ? to : 0.0F);
  }
}

}  // namespace lockstep::models::cpu
