// Recursive doubling: in round k swap the whole array with the member whose number differs in bit k, and add.
// log2 p rounds of n elements: the fewest rounds possible, for small arrays. Every element is summed in the
// same balanced tree over ranks.
#include "comm/allreduce/fold.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

class RecursiveDoubling final : public Schedule {
 public:
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    const Fold fold(rank, ranks);
    return folded_plan(fold, count, fold.doublings, [&](int step) {
      const int partner = fold.member ^ (1 << step);
      Round round;
      send(round, fold.rank_of(partner), {0, count});
      receive(round, fold.rank_of(partner), {0, count},
              partner < fold.member ? Arrival::add_as_left : Arrival::add_as_right);
      return round;
    });
  }

  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    const Fold fold(rank, ranks);
    return folded_cost(fold, count, {fold.doublings, fold.doublings, fold.doublings * count});
  }

  std::string_view name() const noexcept override { return "recursive-doubling all-reduce"; }
  bool layout_invariant() const noexcept override { return true; }
};

}  // namespace

std::unique_ptr<Schedule> make_recursive_doubling(const Options&) {
  return std::make_unique<RecursiveDoubling>();
}

}  // namespace lockstep::comm
