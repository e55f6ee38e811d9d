// Hierarchical all-reduce: add up inside each node, all-reduce across nodes, hand out inside the node. The
// array has as many chunks as the smallest node has ranks; the rank at place c of its node owns chunk c. One
// round collects chunks at their owners, halving-doubling sums each chunk over the nodes' owners, one round
// hands the sums out. Only 2(m-1)/m of the array leaves a node of m, whatever its number of ranks; nodes of
// different sizes take part with their first ranks. On one node it is the two-shot all-reduce. Every element
// is summed in the same bracket (first the node's ranks, then nodes), so bits do not depend on buckets, but
// they do on where the ranks are.
#include <algorithm>

#include "comm/allreduce/group.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

/// Where a rank is, and with whom it works.
struct Place {
  Place(int rank, const Topology& topology, std::int64_t count)
      : node(topology.node_of(rank)), nodes(topology.nodes()) {
    inside.ranks = topology.ranks_of(node);
    inside.me =
        static_cast<int>(std::find(inside.ranks.begin(), inside.ranks.end(), rank) - inside.ranks.begin());
    inside.owners = inside.size();
    inside.count = count;
    for (int each = 0; each < nodes; ++each) {
      const std::vector<int> ranks = topology.ranks_of(each);
      inside.owners = std::min(inside.owners, static_cast<int>(ranks.size()));
      largest = std::max(largest, static_cast<int>(ranks.size()));
      if (inside.me < static_cast<int>(ranks.size())) {
        across.push_back(ranks[static_cast<std::size_t>(inside.me)]);
      }
    }
  }
  /// The same on every rank, whatever its chunk.
  [[nodiscard]] std::int64_t rounds_across() const { return halving_doubling_cost(0, nodes, 1).rounds; }

  int node;
  int nodes;
  int largest = 1;          // ranks of the largest node
  Sharing inside;           // this rank's node
  std::vector<int> across;  // by node: the owner of the same chunk
};

class Hierarchical final : public Schedule {
 public:
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    Plan plan;
    if (topology.ranks() == 1 || count == 0) return plan;
    const Place place(rank, topology, count);
    const Range own = place.inside.own();
    if (place.largest > 1) add_collect(plan, place.inside);
    append(plan, halving_doubling_plan(place.node, place.nodes, own.count),
           {.ranks = place.across, .offset = own.first, .from = 0, .to = place.rounds_across()});
    if (place.largest > 1) add_spread(plan, place.inside);
    return plan;
  }

  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    if (topology.ranks() == 1 || count == 0) return {};
    const Place place(rank, topology, count);
    Cost cost = halving_doubling_cost(place.node, place.nodes, place.inside.own().count);
    cost.rounds = place.rounds_across();
    if (place.largest == 1) return cost;
    return collect_cost(place.inside) + cost + spread_cost(place.inside);
  }

  std::string_view name() const noexcept override { return "hierarchical all-reduce"; }
  bool layout_invariant() const noexcept override { return false; }
};

}  // namespace

std::unique_ptr<Schedule> make_hierarchical(const Options&) { return std::make_unique<Hierarchical>(); }

}  // namespace lockstep::comm
