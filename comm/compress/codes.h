// The code of one value, in formulas that every device compiles, so that payloads have the same bytes on all.
// They must be inlined: only then does a clone of the calling loop compile them for its instruction set
// (core/cpu_dispatch.h). Products and sums are rounded one by one: no fused multiply-add. Constants must not
// be bound to references (std::min of one): on a GPU they have no address.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#define LOCKSTEP_INLINE inline __attribute__((always_inline))

namespace lockstep::comm {

inline constexpr std::uint32_t kRandomStride = 0x9e3779b9u;

/// What random_bits() makes of the index `place` / kRandomStride: a loop that adds the stride saves a
/// multiplication.
LOCKSTEP_INLINE constexpr std::uint32_t random_bits_at(std::uint32_t key, std::uint32_t place) {
  std::uint32_t x = place ^ key;
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

/// 32 random bits for element `index` of the call that `key` names: a bijection of the index, mixed by the
/// finaliser of Wellons' hash prospector (bias 0.17, two multiplications), so that it vectorises.
LOCKSTEP_INLINE constexpr std::uint32_t random_bits(std::uint32_t key, std::uint32_t index) {
  return random_bits_at(key, index * kRandomStride);
}

/// Uniform in [0, 1) with 24 bits.
LOCKSTEP_INLINE constexpr float random_unit(std::uint32_t key, std::uint32_t index) {
  return static_cast<float>(static_cast<std::int32_t>(random_bits(key, index) >> 8)) * 0x1p-24f;
}

LOCKSTEP_INLINE constexpr std::uint32_t magnitude_bits(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
}
LOCKSTEP_INLINE constexpr bool is_nonfinite(float x) { return magnitude_bits(x) >= 0x7f800000u; }

// ---- scales of blocks: the upper half of a float >= 0

/// Rounded up. With 8 significant bits its product with a small code is exact.
LOCKSTEP_INLINE constexpr std::uint16_t scale_above(float x) {
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(x) + 0xffffu) >> 16);
}
/// Rounded to nearest.
LOCKSTEP_INLINE constexpr std::uint16_t scale_near(float x) {
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(x) + 0x8000u) >> 16);
}
LOCKSTEP_INLINE constexpr float scale_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline constexpr float kSmallestScale = 1e-35f;  // below it 1 / scale would overflow: such blocks are zero

/// The scale at which `levels` codes reach `extent`.
LOCKSTEP_INLINE constexpr std::uint16_t scale_for(float extent, std::int32_t levels) {
  const float scale = extent / static_cast<float>(levels);
  return scale < kSmallestScale ? std::uint16_t{0} : scale_above(scale);
}
LOCKSTEP_INLINE constexpr float inverse_of(float scale) { return scale > 0 ? 1.0f / scale : 0.0f; }

// ---- integers

/// The nearest integer: adding 1.5 * 2^23 leaves it in the low bits.
LOCKSTEP_INLINE constexpr std::int32_t nearest_code(float scaled) {
  return std::bit_cast<std::int32_t>(scaled + 12582912.0f) - 0x4b400000;
}
/// floor(scaled + unit): positive before it is cut off to an integer, so cutting is flooring.
LOCKSTEP_INLINE constexpr std::int32_t random_code(float scaled, float unit, std::int32_t levels) {
  const std::int32_t code = static_cast<std::int32_t>(scaled + unit + 256.0f) - 256;
  return std::min(levels, std::max(-levels, code));
}
/// The field of a shared grid, code + levels in [0, most]: rounded to nearest (offset 0.5) or at random; the
/// sum is positive, so cutting is flooring.
LOCKSTEP_INLINE constexpr std::int32_t grid_field(float scaled, float levels, float offset,
                                                  std::int32_t most) {
  return std::clamp(static_cast<std::int32_t>(scaled + levels + offset), 0, most);
}

// ---- powers of two in 8 bits: sign, and 7 bits of exponent from 2^-95 to 2^31

inline constexpr std::uint32_t kLowestExponent = 127 - 95;  // code 1
inline constexpr std::uint32_t kHighestPower = 127;

/// 0: zero; else exponent - kLowestExponent + 1, sign in bit 7. Rounded up or down at random so that the mean
/// is right: the mantissa is the probability.
LOCKSTEP_INLINE constexpr std::uint32_t power_code(float x, std::uint32_t random) {
  const std::uint32_t exponent = (magnitude_bits(x) + (random & 0x7fffffu)) >> 23;
  const std::uint32_t above = std::max(exponent, kLowestExponent - 1) - (kLowestExponent - 1);
  return (above < kHighestPower ? above : kHighestPower) | (std::bit_cast<std::uint32_t>(x) >> 31) << 7;
}
LOCKSTEP_INLINE constexpr float power_value(std::uint32_t code) {
  const std::uint32_t above = code & 127u;
  const std::uint32_t present = 0u - static_cast<std::uint32_t>(above != 0);
  return std::bit_cast<float>((((above + kLowestExponent - 1) << 23) & present) | (code & 128u) << 24);
}

// ---- signs

inline constexpr std::uint16_t kUnitScale = 0x3f80;  // the upper half of 1.0f

/// The sign of x, of zero a random one, in bit 31.
LOCKSTEP_INLINE constexpr std::uint32_t voted_sign(float x, std::uint32_t random) {
  const std::uint32_t zero = 0u - static_cast<std::uint32_t>(magnitude_bits(x) == 0);
  return ((std::bit_cast<std::uint32_t>(x) & ~zero) | (random & zero)) & 0x80000000u;
}
/// Bit 0 positive, bit 1 negative.
LOCKSTEP_INLINE constexpr std::uint32_t ternary_code(float x) {
  return static_cast<std::uint32_t>(x > 0) | static_cast<std::uint32_t>(x < 0) << 1;
}
LOCKSTEP_INLINE constexpr float ternary_value(std::uint32_t code) {
  return static_cast<float>(static_cast<std::int32_t>(code & 1u) -
                            static_cast<std::int32_t>((code >> 1) & 1u));
}

// ---- rotation (hadamard.h)

/// Sign of element i of a rotated block: bit 31 of a fixed hash.
LOCKSTEP_INLINE constexpr float with_random_sign(float x, std::uint32_t i) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) ^ (random_bits(0x5bd1e995u, i) & 0x80000000u));
}

}  // namespace lockstep::comm
