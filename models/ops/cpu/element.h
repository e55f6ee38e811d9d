// Elements of activations inside own loops: f32, or bf16 that is widened when read and rounded when written.
// Everything here is inlined into the per-instruction-set clones of its callers and has no branches, so that
// the compiler turns loops over it into vector code.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/dtype.h"

#define LOCKSTEP_INLINE [[gnu::always_inline]] inline

namespace lockstep::models::cpu {

LOCKSTEP_INLINE float widen(float x) { return x; }
LOCKSTEP_INLINE float widen(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

template <class T>
LOCKSTEP_INLINE T narrow(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else {
    return Bf16(x);
  }
}

/// exp by 2^n * polynomial (Cody & Waite); about 2 units in the last place. Below -87: 0 nearly.
LOCKSTEP_INLINE float fast_exp(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504F + kRound;
  const std::int32_t n = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  const float whole = shifted - kRound;
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  float p = 1.9875691500e-4F;  // minimax polynomial of Cephes' expf
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float series = p * r * r + r + 1.0F;
  return series * std::bit_cast<float>((n + 127) << 23);
}

/// 2^x for |x| <= 125, clamped beyond (also NaN); relative error about 2e-7. Minimax polynomial of degree 5.
LOCKSTEP_INLINE float fast_exp2(float x) {
  // Clamped as integers, which floats without their sign sort like. A comparison of floats would let the
  // compiler run the rest on what it throws away, and that may be denormal: a hundred times slower.
  constexpr auto kLimit = std::bit_cast<std::int32_t>(125.0F);
  const auto bits = std::bit_cast<std::int32_t>(x);
  const std::int32_t size = bits & 0x7fffffff;
  x = std::bit_cast<float>((size < kLimit ? size : kLimit) | (bits ^ size));
  constexpr float kRound = 12582912.0F;  // as above
  const float shifted = x + kRound;
  const float r = x - (shifted - kRound);
  float p = 1.327647152e-3F;
  p = p * r + 9.675541331e-3F;
  p = p * r + 5.550713275e-2F;
  p = p * r + 2.402211972e-1F;
  p = p * r + 6.931469671e-1F;
  p = p * r + 1.0F;
  // The integer's bits become the exponent's; those of kRound leave at the top.
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) +
                              (std::bit_cast<std::uint32_t>(shifted) << 23));
}

/// erf by Abramowitz & Stegun 7.1.26 (absolute error 1.5e-7), given e = exp(-x * x).
LOCKSTEP_INLINE float fast_erf(float x, float e) {
  const float size = std::fabs(x);
  const float t = 1.0F / (1.0F + 0.3275911F * size);
  float p = 1.061405429F;
  p = p * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  return std::copysign(1.0F - p * t * e, x);
}

/// Partial sums of a row that the compiler keeps in registers; the order of additions is fixed.
struct Lanes {
  static constexpr int kCount = 16;
  float sum[kCount] = {};
  [[nodiscard]] LOCKSTEP_INLINE float total() const {
    float half[8];
    for (int i = 0; i < 8; ++i) half[i] = sum[i] + sum[i + 8];
    for (int i = 0; i < 4; ++i) half[i] += half[i + 4];
    return (half[0] + half[2]) + (half[1] + half[3]);
  }
};

/// Sum of term(0) ... term(count - 1) in a fixed order that vectorises.
template <class Term>
LOCKSTEP_INLINE float sum_of(std::int64_t count, const Term& term) {
  Lanes lanes;
  std::int64_t i = 0;
  for (; i + Lanes::kCount <= count; i += Lanes::kCount)
    for (int lane = 0; lane < Lanes::kCount; ++lane) lanes.sum[lane] += term(i + lane);
  for (int lane = 0; i + lane < count; ++lane) lanes.sum[lane] += term(i + lane);
  return lanes.total();
}

}  // namespace lockstep::models::cpu
