// What shape an operation gives for its input shapes, and whether they fit it at all. PyTorch's rules.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/shape.h"
#include "models/ops/spec.h"

namespace lockstep::models {

/// The output shape. Throws Fault::config naming `node`, the shapes and the setting that do not fit.
[[nodiscard]] Shape infer_shape(const OpSpec& spec, std::span<const Shape> inputs, const std::string& node);

/// The target that a loss compares a prediction of this shape with. Throws as infer_shape.
[[nodiscard]] Shape target_shape(const OpSpec& loss, const Shape& prediction, const std::string& node);

/// True for softmax cross-entropy, mean squared error and smooth L1.
[[nodiscard]] bool is_loss(const OpSpec& spec) noexcept;

/// How a window of `kernel` elements slides along an axis: (extent + 2 padding - dilation (kernel - 1) - 1) /
/// stride + 1 places, 0 when it does not fit.
[[nodiscard]] std::int64_t window_places(std::int64_t extent, std::int64_t kernel, std::int64_t stride,
                                         std::int64_t padding, std::int64_t dilation) noexcept;

}  // namespace lockstep::models
