#include "core/hash.h"

#include <bit>
#include <cstddef>

namespace lockstep {

std::uint64_t hash_floats(std::span<const float> values, std::uint64_t first) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += mix(first + i, std::bit_cast<std::uint32_t>(values[i]));
  return sum;
}

std::string hash_text(std::uint64_t hash) {
  std::string text(16, '0');
  for (std::size_t digit = 16; digit-- > 0; hash >>= 4) text[digit] = "0123456789abcdef"[hash & 15u];
  return text;
}

}  // namespace lockstep
