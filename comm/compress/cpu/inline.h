// Small pieces of the hot loops. They must be inlined: only then does a clone of the calling loop compile
// them for its instruction set (core/cpu_dispatch.h).
#pragma once

#include <bit>
#include <cstdint>

#define LOCKSTEP_INLINE inline __attribute__((always_inline))

namespace lockstep::comm {

/// 32 random bits for element `index` of the call that `key` names: a bijection of the index, mixed by the
/// finaliser of Wellons' hash prospector (bias 0.17, two multiplications), so that it vectorises.
LOCKSTEP_INLINE std::uint32_t random_bits(std::uint32_t key, std::uint32_t index) {
  std::uint32_t x = index * 0x9e3779b9u ^ key;
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

/// Uniform in [0, 1) with 24 bits.
LOCKSTEP_INLINE float random_unit(std::uint32_t key, std::uint32_t index) {
  return static_cast<float>(static_cast<std::int32_t>(random_bits(key, index) >> 8)) * 0x1p-24f;
}

LOCKSTEP_INLINE std::uint32_t magnitude_bits(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
}

/// The upper half of a float >= 0, rounded up: a block's scale on the wire. With 8 significant bits its
/// product with a small code is exact.
LOCKSTEP_INLINE std::uint16_t scale_above(float x) {
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(x) + 0xffffu) >> 16);
}
LOCKSTEP_INLINE float scale_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// The sum of 16 lanes, in a fixed order.
LOCKSTEP_INLINE float added_lanes(float* lanes) {
  for (int width = 8; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace lockstep::comm
