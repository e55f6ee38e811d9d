// Walks over the pixels of channels-last images, a lot of channels at a time; numbers of places are 32 bits,
// because a division by 64 bits costs more than the memory that a place touches.
#pragma once

#include <cstdint>

#include "core/shape.h"
#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {

/// Sizes of an image batch [n, h, w, c] in lots of channels.
struct ImageSize {
  std::uint32_t n, h, w, lots;
  [[nodiscard]] __host__ __device__ std::uint32_t places() const { return n * h * w * lots; }
};
[[nodiscard]] inline ImageSize image_size(const Shape& shape, int lot) {
  const auto narrow = [](std::int64_t i) { return static_cast<std::uint32_t>(i); };
  return {narrow(shape[0]), narrow(shape[2]), narrow(shape[3]), narrow(shape[1] / lot)};
}

/// One lot of one pixel.
struct Spot {
  std::uint32_t n;
  int row, col;
  std::uint32_t lot;
};
__device__ __forceinline__ Spot spot_of(std::uint32_t place, const ImageSize& size) {
  const std::uint32_t pixel = place / size.lots, line = pixel / size.w;
  return {line / size.h, static_cast<int>(line % size.h), static_cast<int>(pixel % size.w),
          place % size.lots};
}
/// The lot of pixel (row, col) in the same image and channels.
__device__ __forceinline__ std::int64_t place_of(const Spot& spot, int row, int col, const ImageSize& size) {
  return ((static_cast<std::int64_t>(spot.n) * size.h + row) * size.w + col) * size.lots + spot.lot;
}

}  // namespace lockstep::models::cuda
