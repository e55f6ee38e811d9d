// One Philox block gives the masks of four elements.
#include "models/ops/dropout_mask.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace lockstep::models {
namespace {

constexpr std::size_t kBlocks = 64;  ///< made at a time

}  // namespace

RandomSource dropout_source(std::uint64_t seed, std::string_view node, std::int64_t sample) {
  return {seed, "dropout:" + std::string(node), static_cast<std::uint64_t>(sample)};
}

std::uint32_t dropout_threshold(float rate) noexcept {
  return static_cast<std::uint32_t>(std::ceil(static_cast<double>(rate) * 0x1p24));
}

void dropout_mask(std::uint64_t seed, std::string_view node, std::int64_t sample, float rate,
                  std::int64_t first, std::span<std::uint8_t> mask) {
  const RandomSource source = dropout_source(seed, node, sample);
  const std::uint32_t threshold = dropout_threshold(rate);
  const auto start = static_cast<std::uint64_t>(first);
  const std::uint64_t end = start + mask.size();
  std::array<std::array<std::uint32_t, 4>, kBlocks> words{};
  for (std::uint64_t block = start / 4; 4 * block < end; block += kBlocks) {
    const auto count = std::min<std::uint64_t>(kBlocks, (end - 4 * block + 3) / 4);
    source.blocks(block, std::span(words).first(count));
    const std::uint32_t* draws = words[0].data();
    const std::uint64_t stop = std::min(4 * (block + count), end);
    for (std::uint64_t element = std::max(4 * block, start); element < stop; ++element)
      mask[element - start] = (draws[element - 4 * block] >> 8) >= threshold ? 1 : 0;
  }
}

}  // namespace lockstep::models
