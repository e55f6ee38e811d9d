#include "comm/movement.h"

#include <algorithm>
#include <vector>

namespace lockstep::comm {

namespace {

/// The elements of blocks first, first + 1, ..., modulo `ranks`: one range, or two when they wrap around.
std::vector<Range> block_ranges(int first, int blocks, int ranks, std::int64_t count) {
  const int before_end = std::min(blocks, ranks - first);
  std::vector<Range> ranges{{first * count, before_end * count}};
  if (before_end < blocks) ranges.push_back({0, (blocks - before_end) * count});
  return ranges;
}

}  // namespace

Plan gather_plan(int rank, int ranks, std::int64_t count) {
  Plan plan;
  for (int have = 1; have < ranks && count > 0; have *= 2) {
    const int blocks = std::min(have, ranks - have);
    const int to = (rank - have + ranks) % ranks;
    const int from = (rank + have) % ranks;
    Round round;
    for (const Range& range : block_ranges(rank, blocks, ranks, count)) round.sends.push_back({to, range});
    for (const Range& range : block_ranges(from, blocks, ranks, count)) {
      round.receives.push_back({from, range, Arrival::replace});
    }
    plan.rounds.push_back(std::move(round));
  }
  return plan;
}

Plan broadcast_plan(int rank, int ranks, int root, std::int64_t count) {
  Plan plan;
  const int place = (rank - root + ranks) % ranks;  // the root is at place 0
  for (int have = 1; have < ranks && count > 0; have *= 2) {
    Round round;
    if (place < have && place + have < ranks) {
      round.sends.push_back({(place + have + root) % ranks, {0, count}});
    } else if (place >= have && place < 2 * have) {
      round.receives.push_back({(place - have + root) % ranks, {0, count}, Arrival::replace});
    }
    plan.rounds.push_back(std::move(round));
  }
  return plan;
}

Plan barrier_plan(int rank, int ranks) {
  Plan plan;
  for (int distance = 1; distance < ranks; distance *= 2) {
    Round round;
    round.sends.push_back({(rank + distance) % ranks, {0, 1}});
    round.receives.push_back({(rank - distance + ranks) % ranks, {1, 1}, Arrival::replace});
    plan.rounds.push_back(std::move(round));
  }
  return plan;
}

}  // namespace lockstep::comm
