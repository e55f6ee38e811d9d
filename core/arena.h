// Plans offsets for blocks whose lifetimes are known, so that one allocation serves all activations of a
// static graph: blocks that are never alive together may share bytes. Greedy by size (largest first, lowest
// fitting offset), as in Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lockstep {

/// A block needed from time `first` to time `last`, both included, and perhaps once more later: what it held
/// is lost in between, but it comes back to the same place.
struct Lifetime {
  std::size_t bytes = 0;
  int first = 0;
  int last = 0;
  int later_first = 0;
  int later_last = -1;  ///< before later_first: not needed again
  [[nodiscard]] bool comes_back() const noexcept { return later_first <= later_last; }
};

/// True when both are needed at some time.
[[nodiscard]] bool meet(const Lifetime& one, const Lifetime& other) noexcept;

struct ArenaPlan {
  std::vector<std::size_t> offsets;  ///< one per block, multiples of kArenaAlignment
  std::size_t bytes = 0;             ///< size of the arena
};

inline constexpr std::size_t kArenaAlignment = 256;

/// Blocks with overlapping lifetimes never overlap in bytes.
[[nodiscard]] ArenaPlan plan_arena(std::span<const Lifetime> blocks);

}  // namespace lockstep
