// Exact steps among compressed ones: 0/1 Adam (Lu et al., ICLR 2023) measures its second moment in steps that
// grow rarer, because the moment changes ever more slowly.
#pragma once

#include <cstdint>

namespace lockstep {

/// Whether a step is exact that comes `since` steps after an exact start: their distance is 1 and doubles
/// after every 16 of them.
[[nodiscard]] constexpr bool refreshes(std::int64_t since) {
  constexpr std::int64_t kOfEachDistance = 16;
  std::int64_t distance = 1;
  for (; since >= kOfEachDistance * distance; distance *= 2) since -= kOfEachDistance * distance;
  return since % distance == 0;
}

}  // namespace lockstep
