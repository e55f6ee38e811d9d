// Element types, with the two 16-bit floats as storage types: they hold bits and convert, they do not
// compute.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lockstep {

enum class Dtype : std::uint8_t { f64, f32, bf16, f16, i64, i32, u16, u8 };

[[nodiscard]] std::size_t size_of(Dtype dtype) noexcept;
[[nodiscard]] std::string_view name_of(Dtype dtype) noexcept;
/// The dtype called `name`. Throws Fault::config naming the nearest one.
[[nodiscard]] Dtype dtype_named(std::string_view name);

/// bfloat16: the upper half of a float. Rounds to nearest even; NaN stays NaN.
struct Bf16 {
  std::uint16_t bits = 0;
  Bf16() = default;
  explicit Bf16(float value) noexcept {
    auto word = std::bit_cast<std::uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<std::uint16_t>((word >> 16) | 0x0040u);
    } else {
      word += 0x7fffu + ((word >> 16) & 1u);
      bits = static_cast<std::uint16_t>(word >> 16);
    }
  }
  explicit operator float() const noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE binary16. Rounds to nearest even; overflows to infinity.
struct F16 {
  std::uint16_t bits = 0;
  F16() = default;
  explicit F16(float value) noexcept;
  explicit operator float() const noexcept;
};

template <class T>
struct DtypeOf;
template <>
struct DtypeOf<double> {
  static constexpr Dtype value = Dtype::f64;
};
template <>
struct DtypeOf<float> {
  static constexpr Dtype value = Dtype::f32;
};
template <>
struct DtypeOf<Bf16> {
  static constexpr Dtype value = Dtype::bf16;
};
template <>
struct DtypeOf<F16> {
  static constexpr Dtype value = Dtype::f16;
};
template <>
struct DtypeOf<std::int64_t> {
  static constexpr Dtype value = Dtype::i64;
};
template <>
struct DtypeOf<std::int32_t> {
  static constexpr Dtype value = Dtype::i32;
};
template <>
struct DtypeOf<std::uint16_t> {
  static constexpr Dtype value = Dtype::u16;
};
template <>
struct DtypeOf<std::uint8_t> {
  static constexpr Dtype value = Dtype::u8;
};
template <class T>
inline constexpr Dtype dtype_of = DtypeOf<T>::value;

}  // namespace lockstep
