// A rotation of 256 values that spreads outliers over the block, so that a block's scale fits all its values:
// fixed random signs, then 16 Walsh-Hadamard transforms of 16 values each (the columns of a 16 x 16 square),
// row r turned by r lanes, and the transforms again. After the turn every column holds one value of each
// former column, so each result mixes all 256. It costs 8 additions a value, like one transform of 256, but
// no transposition. All factors are powers of two: small integers stay exact.
#pragma once

#include <cstdint>
#include <cstring>

#include "comm/compress/cpu/inline.h"

namespace lockstep::comm {

inline constexpr int kRotated = 256;

/// 16 floats as one value: compilers split it into the registers that a machine has.
using Row = float __attribute__((vector_size(64)));

/// Walsh-Hadamard transforms of the 16 columns.
LOCKSTEP_INLINE void transform_columns(Row* x) {
#pragma GCC unroll 4
  for (int half = 1; half < 16; half *= 2) {
#pragma GCC unroll 8
    for (int pair = 0; pair < 8; ++pair) {
      const int upper = (pair / half) * 2 * half + pair % half;
      const Row a = x[upper];
      const Row b = x[upper + half];
      x[upper] = a + b;
      x[upper + half] = a - b;
    }
  }
}

/// Turns row r by `direction` * r lanes.
LOCKSTEP_INLINE void turn_rows(Row* x, int direction) {
  float twice[16][32];
#pragma GCC unroll 16
  for (int row = 0; row < 16; ++row) {
    std::memcpy(twice[row], &x[row], sizeof(Row));
    std::memcpy(twice[row] + 16, &x[row], sizeof(Row));
  }
#pragma GCC unroll 16
  for (int row = 0; row < 16; ++row)
    std::memcpy(&x[row], twice[row] + ((16 + direction * row) & 15), sizeof(Row));
}

/// out = rotated x.
LOCKSTEP_INLINE void rotate(const float* x, float* out) {
  for (std::uint32_t i = 0; i < kRotated; ++i) out[i] = with_random_sign(x[i], i) * 0.0625f;
  Row rows[16];
  std::memcpy(rows, out, sizeof rows);
  transform_columns(rows);
  turn_rows(rows, 1);
  transform_columns(rows);
  std::memcpy(out, rows, sizeof rows);
}

/// out = x rotated back; out may be x.
LOCKSTEP_INLINE void rotate_back(const float* x, float* out) {
  Row rows[16];
  std::memcpy(rows, x, sizeof rows);
  transform_columns(rows);
  turn_rows(rows, -1);
  transform_columns(rows);
  std::memcpy(out, rows, sizeof rows);
  for (std::uint32_t i = 0; i < kRotated; ++i) out[i] = with_random_sign(out[i], i) * 0.0625f;
}

}  // namespace lockstep::comm
