// Plans offsets for blocks whose lifetimes are known, so that one allocation serves all activations of a
// static graph: blocks that are never alive together may share bytes. Greedy by size (largest first, lowest
// fitting offset), as in Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep {

/// A block needed from time `first` to time `last`, both included.
struct Lifetime {
  std::size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct ArenaPlan {
  std::vector<std::size_t> offsets;  ///< one per block, multiples of kArenaAlignment
  std::size_t bytes = 0;             ///< size of the arena
};

inline constexpr std::size_t kArenaAlignment = 256;

/// Blocks with overlapping lifetimes never overlap in bytes.
[[nodiscard]] ArenaPlan plan_arena(std::span<const Lifetime> blocks);

}  // namespace lockstep
