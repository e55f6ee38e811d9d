// Plans made of plans: phases that a group of ranks runs on a part of the array.
#pragma once

#include <vector>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

/// Where a phase runs: its rank i is `ranks[i]`, its element 0 is element `offset`.
struct Phase {
  std::vector<int> ranks;
  std::int64_t offset = 0;
  std::int64_t from = 0;  ///< its rounds [from, to); those it does not have are rests
  std::int64_t to = 0;
};
/// Adds the rounds of `part`, which needs no workspace, to `whole`.
void append(Plan& whole, const Plan& part, const Phase& phase);

/// Ranks that share the work on an array of `count` elements: the first `owners` of them own a chunk each.
struct Sharing {
  std::vector<int> ranks;
  int me = 0;  ///< this rank's place among them
  int owners = 1;
  std::int64_t count = 0;

  [[nodiscard]] int size() const noexcept { return static_cast<int>(ranks.size()); }
  [[nodiscard]] Range chunk(int place) const noexcept { return chunk_of({0, count}, owners, place); }
  /// What this rank owns: nothing when it is no owner.
  [[nodiscard]] Range own() const noexcept { return me < owners ? chunk(me) : Range{}; }
};
/// One round: everyone sends every owner its chunk; owners add them up.
void add_collect(Plan& plan, const Sharing& sharing);
/// One round: every owner sends its chunk to everyone.
void add_spread(Plan& plan, const Sharing& sharing);
[[nodiscard]] Cost collect_cost(const Sharing& sharing);
[[nodiscard]] Cost spread_cost(const Sharing& sharing);

/// Adds to `round` the sum of `operands` (by rank, apart from each other) into the one at `mine`: in the
/// balanced tree over ranks in which recursive doubling adds them, so the bits are the same. Other operands
/// are overwritten.
void add_balanced(Round& round, const std::vector<Range>& operands, std::size_t mine);

}  // namespace lockstep::comm
