// The activation at the end of a kernel: alone, or fused behind a product.
#pragma once

#include <cstdint>
#include <variant>

#include "models/ops/spec.h"

namespace lockstep::models {

enum class Activation : std::uint8_t { none, relu, leaky_relu, gelu_tanh, gelu_exact };
struct Epilogue {
  Activation activation = Activation::none;
  float slope = 0;  ///< of leaky ReLU
};

/// The activation that a node is, or none.
[[nodiscard]] inline Epilogue epilogue_of(const OpSpec& spec) {
  if (std::holds_alternative<Relu>(spec)) return {Activation::relu};
  if (const auto* leaky = std::get_if<LeakyRelu>(&spec)) return {Activation::leaky_relu, leaky->slope};
  if (const auto* gelu = std::get_if<Gelu>(&spec))
    return {gelu->tanh ? Activation::gelu_tanh : Activation::gelu_exact};
  return {};
}
/// Backward of GELU reads the input, that of the ReLUs the output (a leaky slope below 0 would not tell the
/// sign).
[[nodiscard]] inline bool reads_input(const Epilogue& e) {
  return e.activation == Activation::gelu_tanh || e.activation == Activation::gelu_exact ||
         (e.activation == Activation::leaky_relu && e.slope < 0);
}

}  // namespace lockstep::models
