// Images with channels innermost ([N, H, W, C]): what oneDNN and cuDNN both like, and what lets own loops
// ignore geometry.
#pragma once

#include <cstdint>

#include "models/ops/kernel.h"

namespace lockstep::models {

/// Channels last for an image whose order differs from dense, else null.
[[nodiscard]] StorageOrderPtr image_order(const Shape& shape);

/// An activation of `shape` in that order.
[[nodiscard]] TensorLayout activation(const Shape& shape, Dtype dtype);

/// The pixels of an activation and their width: [N, C, H, W] is N * H * W rows of C, other tensors are rows
/// of their last axis.
struct Rows {
  std::int64_t count, width;
};
[[nodiscard]] Rows rows_of(const Shape& shape);

}  // namespace lockstep::models
