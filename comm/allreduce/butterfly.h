// Reduce-scatter by halving and all-gather by doubling over a power of two of members, for any pairing of
// members: in step k a member swaps half of what is left with its partner of that step. Other rank counts are
// folded (fold.h). The pairing says what the schedule is: nearest first by bits is recursive
// halving-doubling, short distances on a ring is swing.
#pragma once

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

struct Pairing {
  /// Who `member` of `members` swaps with in `step`; its partner's partner is the member itself.
  int (*partner)(int member, int members, int step) noexcept;
  /// Bit k: which half the member keeps in step k, 1 for the upper. Members that still hold the same range
  /// keep different halves exactly when they are partners of that step or hold what the partner holds.
  unsigned (*halves)(int member, int members) noexcept;
};

[[nodiscard]] Plan butterfly_plan(const Pairing& pairing, int rank, int ranks, std::int64_t count);
[[nodiscard]] Cost butterfly_cost(const Pairing& pairing, int rank, int ranks, std::int64_t count);

}  // namespace lockstep::comm
