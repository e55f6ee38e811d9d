// Any number of ranks for algorithms that need a power of two, as MPICH does it. With q the largest power of
// two not above `ranks` and e = ranks - q: for i < e rank 2i first sends everything to 2i+1 and rests; 2i+1
// becomes member i, rank r >= 2e becomes member r - e; at the end 2i+1 returns the result to 2i. Members keep
// the order of ranks, so sums keep their order too.
#pragma once

#include <functional>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

struct Fold {
  Fold(int rank, int ranks) noexcept;
  /// The rank that plays member `other`.
  [[nodiscard]] int rank_of(int other) const noexcept;

  int members = 1;    ///< q, a power of two
  int doublings = 0;  ///< log2 q
  int extra = 0;      ///< e
  int member = 0;     ///< this rank's place among the members, -1 while it rests
  int helped = -1;    ///< the rank that rests for this one, -1: none
  int helper = -1;    ///< the rank that works for this one, -1: none
};

/// The plan of `rank`: fold, then what `core` says for each of `core_rounds` rounds on members (never called
/// for a resting rank), then unfold.
[[nodiscard]] Plan folded_plan(const Fold& fold, std::int64_t count, int core_rounds,
                               const std::function<Round(int round)>& core);

/// The cost of a folded plan whose member sends `core` in its own rounds.
[[nodiscard]] Cost folded_cost(const Fold& fold, std::int64_t count, Cost core);

}  // namespace lockstep::comm
