// All-reduce by Bruck's all-gather (Bruck et al., IEEE TPDS 8(11), 1997): ceil(log2 p) rounds at any rank
// count, the fewest possible where recursive doubling needs two more to fold; (p-1) array lengths sent. In
// round k rank r sends the arrays it has, its own and those of the ranks after it, to rank r - 2^k. Then each
// rank adds all arrays in the balanced tree over ranks. For very small arrays.
#include <algorithm>
#include <bit>

#include "comm/allreduce/group.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

class Bruck final : public Schedule {
 public:
  // Block j of the workspace is the array of rank + j.
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    Plan plan;
    if (ranks == 1 || count == 0) return plan;
    plan.workspace = ranks * count;
    const auto blocks = [&](int first, int number) { return Range{(1 + first) * count, number * count}; };
    for (int have = 1; have < ranks; have *= 2) {
      const int number = std::min(have, ranks - have);
      Round& round = plan.rounds.emplace_back();
      send(round, (rank - have + ranks) % ranks, have == 1 ? Range{0, count} : blocks(0, number));
      receive(round, (rank + have) % ranks, blocks(have, number), Arrival::replace);
    }
    plan.rounds.front().locals.push_back({{0, count}, blocks(0, 1), Arrival::replace});
    std::vector<Range> operands;
    for (int each = 0; each < ranks; ++each) {
      operands.push_back(each == rank ? Range{0, count} : blocks((each - rank + ranks) % ranks, 1));
    }
    add_balanced(plan.rounds.back(), operands, static_cast<std::size_t>(rank));
    return plan;
  }

  Cost stated_cost(int, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    if (ranks == 1 || count == 0) return {};
    const auto rounds = static_cast<int>(std::bit_width(static_cast<unsigned>(ranks - 1)));
    return {rounds, rounds, (ranks - 1) * count};
  }

  std::string_view name() const noexcept override { return "Bruck all-reduce"; }
  bool layout_invariant() const noexcept override { return true; }
};

}  // namespace

std::unique_ptr<Schedule> make_bruck(const Options&) { return std::make_unique<Bruck>(); }

}  // namespace lockstep::comm
