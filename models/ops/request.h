// What a backend asks of a request before it makes a kernel.
#pragma once

#include <span>
#include <string_view>
#include <variant>

#include "models/ops/kernel.h"

namespace lockstep::models {

/// From which a kernel is made.
struct Site {
  const KernelRequest& request;
  const BackendOptions& options;

  [[nodiscard]] const Shape& input(std::size_t i = 0) const { return request.inputs[i].shape; }
  [[nodiscard]] const Shape& output() const;
  [[nodiscard]] const Node& last() const {
    return request.fused.empty() ? *request.node : *request.fused.back();
  }
  /// Nobody computes gradients of the graph's own input.
  [[nodiscard]] bool wants_input_gradient() const {
    return request.node->inputs.front() != request.graph->input();
  }
  [[nodiscard]] bool bf16() const { return options.compute == Dtype::bf16; }
};

template <class Op>
[[nodiscard]] bool is(const Node* node) {
  return std::holds_alternative<Op>(node->spec);
}
/// An activation whose gradient needs the activation's output, or GELU.
[[nodiscard]] bool joins_product(const Node* node);
/// A ReLU or a residual sum (and a ReLU).
[[nodiscard]] bool joins_batch_norm(std::span<const Node* const> fused);

/// Operations over the last axis would see the wrong one in a channels-last image. Throws Fault::config,
/// naming the node and the backend.
void check_last_axis(const KernelRequest& request, std::string_view backend);

}  // namespace lockstep::models
