#include "core/dtype.h"

#include <array>
#include <string>
#include <vector>

#include "core/error.h"

namespace lockstep {
namespace {

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  std::size_t bytes;
};

/// In the order of the enumerators, so that a dtype is its own index.
constexpr std::array<DtypeRow, 8> kDtypes = {{{Dtype::f64, "f64", 8},
                                              {Dtype::f32, "f32", 4},
                                              {Dtype::bf16, "bf16", 2},
                                              {Dtype::f16, "f16", 2},
                                              {Dtype::i64, "i64", 8},
                                              {Dtype::i32, "i32", 4},
                                              {Dtype::u16, "u16", 2},
                                              {Dtype::u8, "u8", 1}}};

constexpr std::uint32_t kInfinity = 0x7f800000u;      ///< float infinity
constexpr std::uint32_t kRoundsToInf = 0x477ff000u;   ///< 65520: halfway between the largest half and 65536
constexpr std::uint32_t kSmallestHalf = 0x38800000u;  ///< 2^-14: the smallest normal half
constexpr std::uint32_t kRebias = 0x38000000u;        ///< (127 - 15) << 23: float bias to half bias

/// Bits of a non-negative finite float below 65520 as a half, rounded to nearest even.
std::uint32_t half_magnitude(std::uint32_t magnitude) noexcept {
  if (magnitude < kSmallestHalf) {
    // The spacing of floats in [0.5, 1) is 2^-24, the unit of subnormal halves: the addition rounds for us.
    return std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000u;
  }
  const std::uint32_t rebased = magnitude - kRebias;
  return (rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13;
}

}  // namespace

std::size_t size_of(Dtype dtype) noexcept { return kDtypes[static_cast<std::size_t>(dtype)].bytes; }

std::string_view name_of(Dtype dtype) noexcept { return kDtypes[static_cast<std::size_t>(dtype)].name; }

Dtype dtype_named(std::string_view name) {
  std::vector<std::string> names;
  for (const DtypeRow& row : kDtypes) {
    if (row.name == name) return row.dtype;
    names.emplace_back(row.name);
  }
  throw Error(Fault::config, "unknown element type '" + std::string(name) + "'",
              did_you_mean(std::string(name), names));
}

F16::F16(float value) noexcept {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (word >> 16) & 0x8000u;
  const std::uint32_t magnitude = word & 0x7fffffffu;
  std::uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= kRoundsToInf) {
    half = 0x7c00u;
  } else {
    half = half_magnitude(magnitude);
  }
  bits = static_cast<std::uint16_t>(sign | half);
}

F16::operator float() const noexcept {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  std::uint32_t word = 0;
  if (magnitude >= 0x7c00u) {
    word = kInfinity | (magnitude & 0x3ffu) << 13;
  } else if (magnitude >= 0x400u) {
    word = (magnitude << 13) + kRebias;
  } else {
    word = std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24F);
  }
  return std::bit_cast<float>(sign | word);
}

}  // namespace lockstep
