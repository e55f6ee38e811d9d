// Orders in which this backend stores tensors: images with channels innermost ([N, H, W, C], which on AVX2
// runs as fast as oneDNN's blocked layouts and lets own loops ignore geometry), convolution weights as oneDNN
// likes them, everything else dense.
#pragma once

#include <cstdint>
#include <vector>

#include "core/storage.h"
#include "models/ops/kernel.h"

namespace lockstep::models::cpu {

/// Channels last for an image whose order differs from dense, else null.
[[nodiscard]] StorageOrderPtr image_order(const Shape& shape);

/// How this backend stores an activation of `shape`.
[[nodiscard]] TensorLayout activation(const Shape& shape, Dtype dtype);

/// An order given by the place of every canonical element.
[[nodiscard]] StorageOrderPtr placed_order(std::vector<std::int32_t> places, std::int64_t stored_count,
                                           std::string name);

/// The pixels of an activation and their width: [N, C, H, W] is N * H * W rows of C, other tensors are rows
/// of their last axis.
struct Rows {
  std::int64_t count, width;
};
[[nodiscard]] Rows rows_of(const Shape& shape);

}  // namespace lockstep::models::cpu
