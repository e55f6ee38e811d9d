// From a dtype at run time to a type at compile time, and bfloat16 as arithmetic on bits that compilers
// vectorise.
#pragma once

#include <bit>
#include <cstdint>

#include "core/dtype.h"

namespace lockstep::vector {

/// Calls visit(T*) with the type of a float dtype.
template <class Visit>
void with_float_dtype(Dtype dtype, Visit&& visit) {
  switch (dtype) {
    case Dtype::f64:
      return visit(static_cast<double*>(nullptr));
    case Dtype::f32:
      return visit(static_cast<float*>(nullptr));
    case Dtype::bf16:
      return visit(static_cast<Bf16*>(nullptr));
    case Dtype::f16:
      return visit(static_cast<F16*>(nullptr));
    default:
      return;
  }
}

/// The same for float, i64 and i32.
template <class Visit>
void with_summable_dtype(Dtype dtype, Visit&& visit) {
  switch (dtype) {
    case Dtype::i64:
      return visit(static_cast<std::int64_t*>(nullptr));
    case Dtype::i32:
      return visit(static_cast<std::int32_t*>(nullptr));
    default:
      return with_float_dtype(dtype, visit);
  }
}

/// The same for every dtype.
template <class Visit>
void with_dtype(Dtype dtype, Visit&& visit) {
  switch (dtype) {
    case Dtype::u16:
      return visit(static_cast<std::uint16_t*>(nullptr));
    case Dtype::u8:
      return visit(static_cast<std::uint8_t*>(nullptr));
    default:
      return with_summable_dtype(dtype, visit);
  }
}

/// condition ? yes : no, by masks: a conditional expression may become a branch, which stops vectorisation.
[[nodiscard]] inline std::uint32_t choose(bool condition, std::uint32_t yes, std::uint32_t no) noexcept {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

/// float(half), without a branch.
[[nodiscard]] inline float widened(Bf16 half) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half.bits) << 16);
}
[[nodiscard]] inline float widened(F16 half) noexcept {
  constexpr std::uint32_t kRebias = 112u << 23;  // from half's exponent bias 15 to float's 127
  const std::uint32_t sign = (half.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = (half.bits & 0x7fffu) << 13;
  const std::uint32_t normal = magnitude + kRebias;
  const std::uint32_t special = normal + kRebias;  // infinity and NaN: the exponent is all ones again
  // Subnormal: 2^-14 (1 + m / 1024) - 2^-14.
  const float scaled = std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14F;
  const auto subnormal = std::bit_cast<std::uint32_t>(scaled);
  const std::uint32_t finite = choose(magnitude < (0x0400u << 13), subnormal, normal);
  return std::bit_cast<float>(sign | choose(magnitude >= (0x7c00u << 13), special, finite));
}

/// Half(value), without a branch.
template <class Half>
[[nodiscard]] Half rounded(float value) noexcept;

template <>
[[nodiscard]] inline Bf16 rounded<Bf16>(float value) noexcept {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t nearest_even = word + 0x7fffu + ((word >> 16) & 1u);
  const std::uint32_t quiet_nan = word | 0x00400000u;
  const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
  Bf16 half;
  half.bits = static_cast<std::uint16_t>(choose(is_nan, quiet_nan, nearest_even) >> 16);
  return half;
}

template <>
[[nodiscard]] inline F16 rounded<F16>(float value) noexcept {
  constexpr std::uint32_t kRebias = 112u << 23;
  constexpr std::uint32_t kSmallestNormal = 113u << 23;  // 2^-14
  constexpr std::uint32_t kOverflow = 0x477ff000u;       // 65520 and above round to infinity
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = word & 0x7fffffffu;
  // Floats in [0.5, 1) are spaced by 2^-24, the unit of subnormal halves: the addition rounds.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u;
  const std::uint32_t normal = (magnitude - kRebias + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t finite = choose(magnitude < kSmallestNormal, subnormal, normal);
  const std::uint32_t special =
      choose(magnitude > 0x7f800000u, 0x7e00u | ((magnitude >> 13) & 0x3ffu), 0x7c00u);
  F16 half;
  half.bits =
      static_cast<std::uint16_t>((word >> 16 & 0x8000u) | choose(magnitude >= kOverflow, special, finite));
  return half;
}

}  // namespace lockstep::vector
