// An order-free hash of an array of 32-bit words: the sum modulo 2^64 of mix(index, bits). Parts can be
// hashed anywhere in any order and added, so ranks, threads and devices agree without gathering the array.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace lockstep {

/// The finaliser of SplitMix64 (Steele et al., 2014) over index and bits.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t index, std::uint32_t bits) noexcept {
  std::uint64_t z = (index + 1) * 0x9e3779b97f4a7c15ULL ^ (static_cast<std::uint64_t>(bits) << 16 | 0x5bULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// The part of the hash contributed by `values`, whose first element has index `first`.
[[nodiscard]] std::uint64_t hash_floats(std::span<const float> values, std::uint64_t first = 0) noexcept;

/// 16 lower-case hexadecimal digits.
[[nodiscard]] std::string hash_text(std::uint64_t hash);

}  // namespace lockstep
