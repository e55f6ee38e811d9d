// A model as a static graph: nodes with fixed shapes, built once, run many times. The graph holds no data; an
// Executor plans memory and kernels for it on a backend.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "models/ops/spec.h"

namespace lockstep::models {

/// How a parameter starts: every element is f(seed, "init:" + slot name, canonical index).
struct Init {
  enum class Kind : std::uint8_t { constant, normal, uniform };
  Kind kind = Kind::constant;
  float value = 0;  ///< the constant, the standard deviation, or the bound of [-bound, bound)
  static Init constant(float value) { return {Kind::constant, value}; }
  static Init normal(float deviation) { return {Kind::normal, deviation}; }
  static Init uniform(float bound) { return {Kind::uniform, bound}; }
};

struct ParameterSpec {
  std::string name;  ///< PyTorch's
  Shape shape;
  Init init = {};
  bool decays = true;
};
struct ValueSpec {
  std::string name;
  Shape shape;  ///< with the microbatch axis
  Dtype dtype = Dtype::f32;
};
struct Node {
  std::string name;  ///< "layer1.0.conv1"
  OpSpec spec;
  std::vector<int> inputs;      ///< values
  int output = -1;              ///< value
  std::vector<int> parameters;  ///< of Graph::parameters(); a tied one appears in two nodes
  std::vector<int> states;
};

class Graph {
 public:
  [[nodiscard]] std::int64_t microbatch() const noexcept { return microbatch_; }
  [[nodiscard]] std::span<const Node> nodes() const noexcept { return nodes_; }  ///< in a valid forward order
  [[nodiscard]] std::span<const ValueSpec> values() const noexcept { return values_; }
  [[nodiscard]] std::span<const ParameterSpec> parameters() const noexcept { return parameters_; }
  [[nodiscard]] std::span<const ParameterSpec> states() const noexcept { return states_; }
  [[nodiscard]] int input() const noexcept { return input_; }    ///< value fed by the data set
  [[nodiscard]] int target() const noexcept { return target_; }  ///< value compared with, -1 without a loss
  [[nodiscard]] int prediction() const noexcept {
    return prediction_;
  }                                                          ///< value that evaluation and generation read
  [[nodiscard]] int loss() const noexcept { return loss_; }  ///< per-row losses, -1 without a loss

 private:
  friend class GraphBuilder;
  std::int64_t microbatch_ = 0;
  std::vector<Node> nodes_;
  std::vector<ValueSpec> values_;
  std::vector<ParameterSpec> parameters_, states_;
  int input_ = -1, target_ = -1, prediction_ = -1, loss_ = -1;
};

/// Adds nodes one after another; each call infers and checks shapes and throws Fault::config naming the node
/// when they do not fit. Values are handles (ints). Parameter names are `node + ".weight"` and so on.
class GraphBuilder {
 public:
  explicit GraphBuilder(std::int64_t microbatch);

  /// The input; `sample` is the shape of one sample.
  int input(const Shape& sample, Dtype dtype);
  /// Weighted ops take the initial weight; biases start at `bias_init`, norms at weight `weight_init` and
  /// bias 0.
  int conv2d(int x, const std::string& name, const Conv2d& spec, Init weight, Init bias = {});
  int conv_transpose2d(int x, const std::string& name, const ConvTranspose2d& spec, Init weight,
                       Init bias = {});
  int linear(int x, const std::string& name, const Linear& spec, Init weight, Init bias = {});
  int batch_norm(int x, const std::string& name, const BatchNorm& spec, Init weight = Init::constant(1));
  int layer_norm(int x, const std::string& name, const LayerNorm& spec = {});
  int embedding(int ids, const std::string& name, const Embedding& spec, Init weight);
  int position_embedding(int x, const std::string& name, const PositionEmbedding& spec, Init weight);
  /// `embedding` is the name of the Embedding node whose weight is shared.
  int tied_linear(int x, const std::string& name, const std::string& embedding);
  /// Ops without parameters.
  int apply(const OpSpec& spec, const std::vector<int>& inputs, const std::string& name);

  [[nodiscard]] const Shape& shape(int value) const;
  [[nodiscard]] Dtype dtype(int value) const;
  void predict(int value);  ///< marks the prediction
  /// Adds the loss over the prediction and a new target value.
  void loss(const OpSpec& spec);
  /// The graph. Throws Fault::internal without an input or a prediction.
  [[nodiscard]] Graph finish() &&;

 private:
  const ValueSpec& value(int index) const;
  int add(Node node);
  int parameter(const std::string& name, const Shape& shape, Init init);
  void weight_and_bias(Node& node, const Shape& weight_shape, Init weight, std::int64_t biases, Init bias);
  Graph graph_;
};

}  // namespace lockstep::models
