// Optimizer state spread over ranks: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion
// Parameter Models", SC 2020, stage 1. Every rank owns a part, a contiguous run of whole slots: it remembers
// and updates those alone, and afterwards hands its new values to all. Slots stay whole, so norms of slots
// need no other rank and a saved slot lies in one file.
#pragma once

#include <vector>

#include "core/parameters.h"

namespace lockstep::trainer {

/// Slots [first_slot, last_slot): elements [first, first + count) of the flat arrays.
struct Part {
  std::size_t first_slot = 0, last_slot = 0;
  std::int64_t first = 0, count = 0;
};

/// One part per rank, in order, which together are all; each ends where a slot ends that is nearest to its
/// share. Parts may be empty.
[[nodiscard]] std::vector<Part> cut_parts(const SlotLayout& layout, int ranks);

/// All slots.
[[nodiscard]] Part whole_of(const SlotLayout& layout);

/// Elements of the largest part.
[[nodiscard]] std::int64_t largest_part(const SlotLayout& layout, int ranks);

/// The part's slots alone, laid out as in the whole but from 0.
[[nodiscard]] SlotLayout layout_of(const Part& part, const SlotLayout& layout);

}  // namespace lockstep::trainer
