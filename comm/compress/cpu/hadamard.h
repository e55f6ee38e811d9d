// A randomised Hadamard transform of 256 values: fixed random signs, then the orthonormal Walsh-Hadamard
// transform as 16 x 16 (transform columns, transpose, transform columns). Spreads outliers over the block,
// so that a block's scale fits all its values; all factors are powers of two, so small integers stay exact.
#pragma once

#include <cstdint>

#include "comm/compress/cpu/inline.h"

namespace lockstep::comm {

inline constexpr int kRotated = 256;

/// Four stages over rows of 16 lanes.
LOCKSTEP_INLINE void transform_columns(float* x) {
  for (int half = 1; half < 16; half *= 2) {
    for (int row = 0; row < 16; ++row) {
      if ((row & half) != 0) continue;
      float* upper = x + row * 16;
      float* lower = x + (row + half) * 16;
      for (int lane = 0; lane < 16; ++lane) {
        const float a = upper[lane];
        const float b = lower[lane];
        upper[lane] = a + b;
        lower[lane] = a - b;
      }
    }
  }
}

LOCKSTEP_INLINE void transposed(const float* x, float* out) {
  for (int row = 0; row < 16; ++row) {
    for (int lane = 0; lane < 16; ++lane) out[lane * 16 + row] = x[row * 16 + lane];
  }
}

/// Sign of element i: bit 31 of a fixed hash.
LOCKSTEP_INLINE float with_random_sign(float x, std::uint32_t i) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) ^ (random_bits(0x5bd1e995u, i) & 0x80000000u));
}

/// out = rotated x. `work` and `out` hold 256 values; none may overlap.
LOCKSTEP_INLINE void rotate(const float* x, float* work, float* out) {
  for (std::uint32_t i = 0; i < kRotated; ++i) work[i] = with_random_sign(x[i], i) * 0.0625f;
  transform_columns(work);
  transposed(work, out);
  transform_columns(out);
}

/// out = x rotated back; x is used as room.
LOCKSTEP_INLINE void rotate_back(float* x, float* out) {
  transform_columns(x);
  transposed(x, out);
  transform_columns(out);
  for (std::uint32_t i = 0; i < kRotated; ++i) out[i] = with_random_sign(out[i], i) * 0.0625f;
}

}  // namespace lockstep::comm
