#include "comm/allreduce/fold.h"

#include <bit>

#include "comm/allreduce/rows.h"

namespace lockstep::comm {

Fold::Fold(int rank, int ranks) noexcept {
  members = static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)));
  doublings = static_cast<int>(std::bit_width(static_cast<unsigned>(members))) - 1;
  extra = ranks - members;
  if (rank >= 2 * extra) {
    member = rank - extra;
  } else if (rank % 2 == 1) {
    member = rank / 2;
    helped = rank - 1;
  } else {
    member = -1;
    helper = rank + 1;
  }
}

int Fold::rank_of(int other) const noexcept { return other < extra ? 2 * other + 1 : other + extra; }

Plan folded_plan(const Fold& fold, std::int64_t count, int core_rounds,
                 const std::function<Round(int round)>& core) {
  Plan plan;
  if (count == 0) return plan;
  const Range all{0, count};
  if (fold.extra > 0) {
    Round& round = plan.rounds.emplace_back();
    if (fold.helper >= 0) send(round, fold.helper, all);
    if (fold.helped >= 0) receive(round, fold.helped, all, Arrival::add_as_left);
  }
  for (int round = 0; round < core_rounds; ++round)
    plan.rounds.push_back(fold.member >= 0 ? core(round) : Round{});
  if (fold.extra > 0) {
    Round& round = plan.rounds.emplace_back();
    if (fold.helped >= 0) send(round, fold.helped, all);
    if (fold.helper >= 0) receive(round, fold.helper, all, Arrival::replace);
  }
  return plan;
}

Cost folded_cost(const Fold& fold, std::int64_t count, Cost core) {
  if (count == 0) return {};
  if (fold.extra > 0) core.rounds += 2;
  if (fold.member < 0) return {core.rounds, 1, count};
  if (fold.helped >= 0) {
    core.messages += 1;
    core.elements += count;
  }
  return core;
}

}  // namespace lockstep::comm
