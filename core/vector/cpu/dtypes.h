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

/// float(Bf16).
[[nodiscard]] inline float widened(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// The bits of Bf16(value), without a branch.
[[nodiscard]] inline std::uint16_t rounded(float value) noexcept {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t nearest_even = word + 0x7fffu + ((word >> 16) & 1u);
  const std::uint32_t quiet_nan = word | 0x00400000u;
  const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
  return static_cast<std::uint16_t>((is_nan ? quiet_nan : nearest_even) >> 16);
}

}  // namespace lockstep::vector
