// The rotation of comm/compress/cpu/hadamard.h by 16 threads: thread t holds column t of the 16 x 16 square,
// so the transforms of columns need no other thread, and a turn of a row is one shuffle.
#pragma once

#include "comm/compress/cuda/device.cuh"

namespace lockstep::comm::gpu {

inline constexpr int kRows = 16;
inline constexpr unsigned kWholeWarp = 0xffffffffu;

__device__ __forceinline__ void transform_column(float (&x)[kRows]) {
#pragma unroll
  for (int half = 1; half < kRows; half *= 2) {
#pragma unroll
    for (int pair = 0; pair < kRows / 2; ++pair) {
      const int upper = (pair / half) * 2 * half + pair % half;
      const float a = x[upper], b = x[upper + half];
      x[upper] = a + b;
      x[upper + half] = a - b;
    }
  }
}

/// Row r takes the value `direction` * r columns further on.
__device__ __forceinline__ void turn_rows(float (&x)[kRows], int column, int direction) {
#pragma unroll
  for (int row = 0; row < kRows; ++row)
    x[row] = __shfl_sync(kWholeWarp, x[row], (column + direction * row) & 15, 16);
}

__device__ __forceinline__ void flip_and_shrink(float (&x)[kRows], int column) {
#pragma unroll
  for (int row = 0; row < kRows; ++row)
    x[row] = with_random_sign(x[row], static_cast<std::uint32_t>(row * 16 + column)) * 0.0625f;
}

__device__ __forceinline__ void rotate(float (&x)[kRows], int column) {
  flip_and_shrink(x, column);
  transform_column(x);
  turn_rows(x, column, 1);
  transform_column(x);
}

__device__ __forceinline__ void rotate_back(float (&x)[kRows], int column) {
  transform_column(x);
  turn_rows(x, column, -1);
  transform_column(x);
  flip_and_shrink(x, column);
}

}  // namespace lockstep::comm::gpu
