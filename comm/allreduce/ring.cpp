// Ring all-reduce (Patarasuk & Yuan, JPDC 2009): p chunks travel round the ring, p-1 rounds adding
// (reduce-scatter), p-1 rounds replacing (all-gather). Bandwidth-optimal at any p: 2(p-1) rounds, 2(p-1)/p of
// the array sent per rank. Element order: chunk c is summed from rank c onwards round the ring, so bits
// depend on the element's place in the array.
#include <algorithm>

#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

class Ring final : public Schedule {
 public:
  Plan plan(int rank, int ranks, std::int64_t count) const override {
    Plan plan;
    if (ranks == 1 || count == 0) return plan;
    const int right = (rank + 1) % ranks;
    const int left = (rank + ranks - 1) % ranks;
    const auto chunk = [&](int index) { return chunk_of({0, count}, ranks, (index + 2 * ranks) % ranks); };
    for (int step = 0; step < ranks - 1; ++step) {
      Round& round = plan.rounds.emplace_back();
      send(round, right, chunk(rank - step));
      receive(round, left, chunk(rank - 1 - step), Arrival::add_as_left);
    }
    for (int step = 0; step < ranks - 1; ++step) {
      Round& round = plan.rounds.emplace_back();
      send(round, right, chunk(rank + 1 - step));
      receive(round, left, chunk(rank - step), Arrival::replace);
    }
    return plan;
  }

  // The first phase sends every chunk but rank + 1, the second every chunk but rank + 2.
  Cost stated_cost(int rank, int ranks, std::int64_t count) const override {
    if (ranks == 1 || count == 0) return {};
    const std::int64_t first = chunk_of({0, count}, ranks, (rank + 1) % ranks).count;
    const std::int64_t second = chunk_of({0, count}, ranks, (rank + 2) % ranks).count;
    const std::int64_t chunks = std::min<std::int64_t>(count, ranks);
    return {.rounds = 2 * (static_cast<std::int64_t>(ranks) - 1),
            .messages = 2 * chunks - (first > 0 ? 1 : 0) - (second > 0 ? 1 : 0),
            .elements = 2 * count - first - second};
  }

  std::string_view name() const noexcept override { return "ring all-reduce"; }
  bool layout_invariant() const noexcept override { return false; }
};

}  // namespace

std::unique_ptr<Schedule> make_ring(const Options&) { return std::make_unique<Ring>(); }

}  // namespace lockstep::comm
