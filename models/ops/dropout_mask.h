// Which elements dropout keeps: a function of (seed, node, global sample, element), so that any rank, backend
// and batch split drops the same ones.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lockstep::models {

/// mask[i] = 1 when element first + i of the sample is kept, which happens with probability 1 - rate.
void dropout_mask(std::uint64_t seed, std::string_view node, std::int64_t sample, float rate,
                  std::int64_t first, std::span<std::uint8_t> mask);

}  // namespace lockstep::models
