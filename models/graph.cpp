// The graph builder: appends nodes, names their parameters, and lets shape inference check them.
#include "models/graph.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "core/error.h"
#include "models/shape_inference.h"

namespace lockstep::models {
namespace {

Shape with_microbatch(std::int64_t microbatch, const Shape& sample) {
  std::vector<std::int64_t> extents{microbatch};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  return Shape(std::move(extents));
}

Node make_node(const std::string& name, const OpSpec& spec, std::vector<int> inputs) {
  return Node{.name = name, .spec = spec, .inputs = std::move(inputs), .parameters = {}, .states = {}};
}

}  // namespace

GraphBuilder::GraphBuilder(std::int64_t microbatch) {
  if (microbatch <= 0) {
    throw Error(Fault::config, fmt::format("a microbatch of {} samples", microbatch), "use at least one");
  }
  graph_.microbatch_ = microbatch;
}

int GraphBuilder::input(const Shape& sample, Dtype dtype) {
  if (graph_.input_ >= 0) throw Error(Fault::internal, "a graph has one input");
  graph_.values_.push_back({"input", with_microbatch(graph_.microbatch_, sample), dtype});
  graph_.input_ = static_cast<int>(graph_.values_.size()) - 1;
  return graph_.input_;
}

const ValueSpec& GraphBuilder::value(int index) const {
  if (index < 0 || index >= static_cast<int>(graph_.values_.size())) {
    throw Error(Fault::internal, fmt::format("value {} is not in the graph", index));
  }
  return graph_.values_[static_cast<std::size_t>(index)];
}

const Shape& GraphBuilder::shape(int index) const { return value(index).shape; }
Dtype GraphBuilder::dtype(int index) const { return value(index).dtype; }

int GraphBuilder::parameter(const std::string& name, const Shape& shape, Init init) {
  for (const auto& other : graph_.parameters_) {
    if (other.name == name) {
      throw Error(Fault::config, fmt::format("two parameters are called '{}'", name), "name nodes uniquely");
    }
  }
  graph_.parameters_.push_back({name, shape, init, shape.rank() >= 2});
  return static_cast<int>(graph_.parameters_.size()) - 1;
}

void GraphBuilder::weight_and_bias(Node& node, const Shape& weight_shape, Init weight, std::int64_t biases,
                                   Init bias) {
  node.parameters.push_back(parameter(node.name + ".weight", weight_shape, weight));
  if (biases > 0) node.parameters.push_back(parameter(node.name + ".bias", Shape{biases}, bias));
}

int GraphBuilder::add(Node node) {
  std::vector<Shape> shapes;
  Dtype dtype = Dtype::f32;
  for (int input : node.inputs) {
    shapes.push_back(value(input).shape);
    const bool ids = std::holds_alternative<Embedding>(node.spec);
    const bool target = is_loss(node.spec) && shapes.size() == 2;
    if (!target && (value(input).dtype == Dtype::i32) != ids) {
      throw Error(Fault::config,
                  fmt::format("node '{}' ({}): input '{}' has dtype {}", node.name, op_name(node.spec),
                              value(input).name, name_of(value(input).dtype)),
                  "token ids (i32) go into an embedding, and only they do");
    }
  }
  if (std::holds_alternative<TiedLinear>(node.spec)) {
    shapes.push_back(graph_.parameters_[static_cast<std::size_t>(node.parameters.front())].shape);
  }
  graph_.values_.push_back({node.name, infer_shape(node.spec, shapes, node.name), dtype});
  node.output = static_cast<int>(graph_.values_.size()) - 1;
  graph_.nodes_.push_back(std::move(node));
  return graph_.nodes_.back().output;
}

int GraphBuilder::conv2d(int x, const std::string& name, const Conv2d& spec, Init weight, Init bias) {
  Node node = make_node(name, spec, {x});
  const Shape in = shape(x);
  const auto channels = in.rank() == 4 && spec.groups > 0 ? in[1] / spec.groups : 0;
  weight_and_bias(node, {spec.out_channels, channels, spec.kernel[0], spec.kernel[1]}, weight,
                  spec.bias ? spec.out_channels : 0, bias);
  return add(std::move(node));
}

int GraphBuilder::conv_transpose2d(int x, const std::string& name, const ConvTranspose2d& spec, Init weight,
                                   Init bias) {
  Node node = make_node(name, spec, {x});
  const Shape in = shape(x);
  const auto out = spec.groups > 0 ? spec.out_channels / spec.groups : 0;
  weight_and_bias(node, {in.rank() == 4 ? in[1] : 0, out, spec.kernel[0], spec.kernel[1]}, weight,
                  spec.bias ? spec.out_channels : 0, bias);
  return add(std::move(node));
}

int GraphBuilder::linear(int x, const std::string& name, const Linear& spec, Init weight, Init bias) {
  Node node = make_node(name, spec, {x});
  const Shape in = shape(x);
  const auto features = in.rank() > 0 ? in[in.rank() - 1] : 0;
  weight_and_bias(node, {spec.out_features, features}, weight, spec.bias ? spec.out_features : 0, bias);
  return add(std::move(node));
}

int GraphBuilder::batch_norm(int x, const std::string& name, const BatchNorm& spec, Init weight) {
  Node node = make_node(name, spec, {x});
  const auto channels = shape(x).rank() >= 2 ? shape(x)[1] : 0;
  weight_and_bias(node, {channels}, weight, channels, Init::constant(0));
  for (const auto& [suffix, start] : {std::pair{".running_mean", 0.f}, std::pair{".running_var", 1.f}}) {
    graph_.states_.push_back({name + suffix, Shape{channels}, Init::constant(start), false});
    node.states.push_back(static_cast<int>(graph_.states_.size()) - 1);
  }
  return add(std::move(node));
}

int GraphBuilder::layer_norm(int x, const std::string& name, const LayerNorm& spec) {
  Node node = make_node(name, spec, {x});
  const auto width = shape(x).rank() > 0 ? shape(x)[shape(x).rank() - 1] : 0;
  weight_and_bias(node, {width}, Init::constant(1), width, Init::constant(0));
  return add(std::move(node));
}

int GraphBuilder::embedding(int ids, const std::string& name, const Embedding& spec, Init weight) {
  Node node = make_node(name, spec, {ids});
  weight_and_bias(node, {spec.vocabulary, spec.width}, weight, 0, {});
  return add(std::move(node));
}

int GraphBuilder::position_embedding(int x, const std::string& name, const PositionEmbedding& spec,
                                     Init weight) {
  Node node = make_node(name, spec, {x});
  const auto width = shape(x).rank() > 0 ? shape(x)[shape(x).rank() - 1] : 0;
  weight_and_bias(node, {spec.context, width}, weight, 0, {});
  return add(std::move(node));
}

int GraphBuilder::tied_linear(int x, const std::string& name, const std::string& embedding) {
  const auto shared = std::ranges::find_if(graph_.nodes_, [&](const Node& node) {
    return node.name == embedding && std::holds_alternative<Embedding>(node.spec);
  });
  if (shared == graph_.nodes_.end()) {
    throw Error(Fault::config,
                fmt::format("node '{}' is tied to '{}', which is no embedding", name, embedding));
  }
  Node node = make_node(name, TiedLinear{}, {x});
  node.parameters = shared->parameters;
  return add(std::move(node));
}

int GraphBuilder::apply(const OpSpec& spec, const std::vector<int>& inputs, const std::string& name) {
  return add(make_node(name, spec, inputs));
}

void GraphBuilder::predict(int index) {
  static_cast<void>(value(index));
  graph_.prediction_ = index;
}

void GraphBuilder::loss(const OpSpec& spec) {
  if (graph_.prediction_ < 0 || !is_loss(spec)) {
    throw Error(Fault::internal, fmt::format("'{}' is no loss, or nothing was predicted", op_name(spec)));
  }
  const bool labels = std::holds_alternative<SoftmaxCrossEntropy>(spec);
  const ValueSpec prediction = value(graph_.prediction_);
  graph_.values_.push_back(
      {"target", target_shape(spec, prediction.shape, "loss"), labels ? Dtype::i32 : prediction.dtype});
  graph_.target_ = static_cast<int>(graph_.values_.size()) - 1;
  graph_.loss_ = add(make_node("loss", spec, {graph_.prediction_, graph_.target_}));
}

Graph GraphBuilder::finish() && {
  if (graph_.input_ < 0 || graph_.prediction_ < 0) {
    throw Error(Fault::internal, "a graph needs an input and a prediction");
  }
  return std::move(graph_);
}

}  // namespace lockstep::models
