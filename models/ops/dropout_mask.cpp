// One Philox block gives the masks of four elements.
#include "models/ops/dropout_mask.h"

#include <cmath>
#include <string>

#include "core/random.h"

namespace lockstep::models {

void dropout_mask(std::uint64_t seed, std::string_view node, std::int64_t sample, float rate,
                  std::int64_t first, std::span<std::uint8_t> mask) {
  const RandomSource source(seed, "dropout:" + std::string(node), static_cast<std::uint64_t>(sample));
  // Kept when the 24-bit uniform value is at least `rate`, compared as integers.
  const auto threshold = static_cast<std::uint32_t>(std::ceil(static_cast<double>(rate) * 0x1p24));
  const auto start = static_cast<std::uint64_t>(first);
  const std::uint64_t end = start + mask.size();
  for (std::uint64_t block = start / 4; 4 * block < end; ++block) {
    const auto words = source.block(block);
    for (std::uint64_t lane = 0; lane < 4; ++lane) {
      const std::uint64_t element = 4 * block + lane;
      if (element >= start && element < end) mask[element - start] = (words[lane] >> 8) >= threshold ? 1 : 0;
    }
  }
}

}  // namespace lockstep::models
