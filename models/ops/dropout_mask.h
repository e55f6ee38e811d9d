// Which elements dropout keeps: a function of (seed, node, global sample, element), so that any rank, backend
// and batch split drops the same ones.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/random.h"

namespace lockstep::models {

/// The random values of a node's mask of one sample. Its key is the same for all samples.
[[nodiscard]] RandomSource dropout_source(std::uint64_t seed, std::string_view node, std::int64_t sample);
/// A word of the source keeps its element when its upper 24 bits, a uniform value, are at least this.
[[nodiscard]] std::uint32_t dropout_threshold(float rate) noexcept;

/// mask[i] = 1 when element first + i of the sample is kept, which happens with probability 1 - rate.
void dropout_mask(std::uint64_t seed, std::string_view node, std::int64_t sample, float rate,
                  std::int64_t first, std::span<std::uint8_t> mask);

}  // namespace lockstep::models
