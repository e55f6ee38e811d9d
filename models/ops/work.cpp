// Operation counts: matrix-like operations exactly (multiply and add count as two), element-wise ones by the
// arithmetic of the formula, transcendental functions as one.
#include "models/ops/work.h"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace lockstep::models {
namespace {

/// Operations per element of the output (forward, backward).
struct PerElement {
  double forward, backward;
};

template <class Op>
constexpr PerElement per_element() {
  if constexpr (std::is_same_v<Op, BatchNorm>) return {5, 9};
  if constexpr (std::is_same_v<Op, LayerNorm>) return {7, 11};
  if constexpr (std::is_same_v<Op, Gelu>) return {8, 14};
  if constexpr (std::is_same_v<Op, Resize>) return {7, 8};
  if constexpr (std::is_same_v<Op, LeakyRelu> || std::is_same_v<Op, Dropout>) return {1, 1};
  if constexpr (std::is_same_v<Op, Relu> || std::is_same_v<Op, PositionEmbedding>) return {1, 1};
  if constexpr (std::is_same_v<Op, Add>) return {1, 0};
  if constexpr (std::is_same_v<Op, Embedding>) return {0, 1};
  return {0, 0};
}

/// What a node's work is counted from.
struct Sizes {
  const Shape& in;
  const Shape& out;
  bool input_gradient;  ///< somebody wants it

  [[nodiscard]] double out_count() const { return static_cast<double>(out.count()); }
  [[nodiscard]] double in_count() const { return static_cast<double>(in.count()); }
  /// A product of `multiplies` multiply-adds: the weight gradient always, the input gradient if wanted.
  [[nodiscard]] Work product(double multiplies, double biases) const {
    return {2 * multiplies + biases, (input_gradient ? 4 : 2) * multiplies + biases, 0, 0};
  }
};

template <class Op>
Work flops(const Op&, const Sizes& sizes) {
  constexpr PerElement each = per_element<Op>();
  return {each.forward * sizes.out_count(), each.backward * sizes.out_count(), 0, 0};
}

double window(const Pair& kernel) { return static_cast<double>(kernel[0] * kernel[1]); }

Work flops(const Conv2d& op, const Sizes& sizes) {
  const double depth = static_cast<double>(sizes.in[1] / op.groups) * window(op.kernel);
  return sizes.product(sizes.out_count() * depth, op.bias ? sizes.out_count() : 0);
}
Work flops(const ConvTranspose2d& op, const Sizes& sizes) {
  const double fan_out = static_cast<double>(op.out_channels / op.groups) * window(op.kernel);
  return sizes.product(sizes.in_count() * fan_out, op.bias ? sizes.out_count() : 0);
}
Work flops(const Linear& op, const Sizes& sizes) {
  return sizes.product(sizes.in_count() * static_cast<double>(op.out_features),
                       op.bias ? sizes.out_count() : 0);
}
Work flops(const TiedLinear&, const Sizes& sizes) {
  return sizes.product(sizes.in_count() * static_cast<double>(sizes.out[sizes.out.rank() - 1]), 0);
}
/// Scores and values over the T (T + 1) / 2 pairs that causality leaves, forward; twice that backward.
Work flops(const CausalAttention& op, const Sizes& sizes) {
  const auto time = static_cast<double>(sizes.in[1]);
  const double pairs = static_cast<double>(sizes.in[0]) * time * (time + 1) / 2;
  const double products = 4 * pairs * static_cast<double>(sizes.out[2]);
  const double softmax = 4 * pairs * static_cast<double>(op.heads);
  return {products + softmax, 2 * (products + softmax), 0, 0};
}
Work flops(const MaxPool& op, const Sizes& sizes) {
  return {sizes.out_count() * window(op.kernel), sizes.out_count(), 0, 0};
}
Work flops(const AveragePool& op, const Sizes& sizes) {
  return {sizes.out_count() * window(op.kernel), sizes.out_count() * window(op.kernel), 0, 0};
}
Work flops(const GlobalAveragePool&, const Sizes& sizes) {
  return {sizes.in_count(), sizes.in_count(), 0, 0};
}
Work flops(const SoftmaxCrossEntropy&, const Sizes& sizes) {
  return {5 * sizes.in_count(), 3 * sizes.in_count(), 0, 0};
}
Work flops(const MeanSquaredError&, const Sizes& sizes) {
  return {3 * sizes.in_count(), 2 * sizes.in_count(), 0, 0};
}
Work flops(const SmoothL1&, const Sizes& sizes) { return {4 * sizes.in_count(), 3 * sizes.in_count(), 0, 0}; }

double parameter_bytes(const Graph& graph, const Node& node) {
  double count = 0;
  for (int p : node.parameters)
    count += static_cast<double>(graph.parameters()[static_cast<std::size_t>(p)].shape.count());
  return 4 * count;
}

/// A parameter lies before the value: backward computes its gradient.
bool has_gradient(const Graph& graph, int value) {
  std::vector<bool> trained(graph.values().size(), false);
  for (const Node& node : graph.nodes()) {
    const bool any =
        std::ranges::any_of(node.inputs, [&](int input) { return trained[static_cast<std::size_t>(input)]; });
    trained[static_cast<std::size_t>(node.output)] = any || !node.parameters.empty();
    if (node.output == value) break;
  }
  return trained[static_cast<std::size_t>(value)];
}

}  // namespace

Work work_of(const KernelRequest& request, std::size_t element_bytes) {
  const Graph& graph = *request.graph;
  const auto shape = [&](int value) -> const Shape& {
    return graph.values()[static_cast<std::size_t>(value)].shape;
  };
  std::vector<const Node*> nodes{request.node};
  nodes.insert(nodes.end(), request.fused.begin(), request.fused.end());
  Work total;
  double inputs = 0;
  double weights = 0;
  for (const Node* node : nodes) {
    const bool wanted = has_gradient(graph, node->inputs.front());
    const Sizes sizes{shape(node->inputs.front()), shape(node->output), wanted};
    const Work part = std::visit([&](const auto& op) { return flops(op, sizes); }, node->spec);
    total.forward_flops += part.forward_flops;
    if (has_gradient(graph, node->output)) total.backward_flops += part.backward_flops;
    weights += parameter_bytes(graph, *node);
  }
  for (const TensorLayout& input : request.inputs) inputs += static_cast<double>(input.shape.count());
  const double activations = static_cast<double>(element_bytes);
  const auto output = static_cast<double>(shape(nodes.back()->output).count());
  const bool wanted = has_gradient(graph, request.node->inputs.front());
  total.forward_bytes = activations * (inputs + output) + weights;
  // A loss can leave its gradient in its input's place while it reads that.
  if (graph.loss() == nodes.back()->output)
    total.backward_bytes = wanted ? activations * inputs : 0;
  else if (has_gradient(graph, nodes.back()->output))
    total.backward_bytes = activations * ((wanted ? 2 : 1) * inputs + output) + 2 * weights;
  return total;
}

}  // namespace lockstep::models
