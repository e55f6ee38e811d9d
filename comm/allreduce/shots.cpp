// Everyone to everyone, in one or two rounds. One shot: every rank sends its whole array to all, and each
// adds all of them: one latency, one rounding per addition, (p-1) array lengths sent; at 2 ranks the same
// bytes as a ring. Two shots: rank r collects chunk r from all, adds, and sends the sum to all: the bytes of
// the ring in two rounds, 2(p-1) messages. Both add in the balanced tree over ranks, so the bits are those of
// halving-doubling.
#include "comm/allreduce/group.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

class OneShot final : public Schedule {
 public:
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return one_shot_plan(rank, topology.ranks(), count);
  }
  Cost stated_cost(int, const Topology& topology, std::int64_t count) const override {
    return one_shot_cost(topology.ranks(), count);
  }
  std::string_view name() const noexcept override { return "one-shot all-reduce"; }
  bool layout_invariant() const noexcept override { return true; }
};

class TwoShot final : public Schedule {
 public:
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return two_shot_plan(rank, topology.ranks(), count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return two_shot_cost(rank, topology.ranks(), count);
  }
  std::string_view name() const noexcept override { return "two-shot all-reduce"; }
  bool layout_invariant() const noexcept override { return true; }
};

}  // namespace

namespace {

Sharing everyone(int rank, int ranks, std::int64_t count) {
  Sharing sharing{.ranks = {}, .me = rank, .owners = ranks, .count = count};
  for (int each = 0; each < ranks; ++each) sharing.ranks.push_back(each);
  return sharing;
}

}  // namespace

Plan one_shot_plan(int rank, int ranks, std::int64_t count) {
  Plan plan;
  if (ranks == 1 || count == 0) return plan;
  Round& round = plan.rounds.emplace_back();
  std::vector<Range> operands;
  for (int peer = 0; peer < ranks; ++peer) {
    operands.push_back({peer == rank ? 0 : count + plan.workspace, count});
    if (peer == rank) continue;
    plan.workspace += count;
    send(round, peer, {0, count});
    receive(round, peer, operands.back(), Arrival::replace);
  }
  add_balanced(round, operands, static_cast<std::size_t>(rank));
  return plan;
}

Cost one_shot_cost(int ranks, std::int64_t count) {
  if (ranks == 1 || count == 0) return {};
  return {1, ranks - 1, (ranks - 1) * count};
}

Plan two_shot_plan(int rank, int ranks, std::int64_t count) {
  Plan plan;
  if (ranks == 1 || count == 0) return plan;
  const Sharing sharing = everyone(rank, ranks, count);
  add_collect(plan, sharing);
  add_spread(plan, sharing);
  return plan;
}

Cost two_shot_cost(int rank, int ranks, std::int64_t count) {
  if (ranks == 1 || count == 0) return {};
  const Sharing sharing = everyone(rank, ranks, count);
  return collect_cost(sharing) + spread_cost(sharing);
}

std::unique_ptr<Schedule> make_one_shot(const Options&) { return std::make_unique<OneShot>(); }
std::unique_ptr<Schedule> make_two_shot(const Options&) { return std::make_unique<TwoShot>(); }

}  // namespace lockstep::comm
