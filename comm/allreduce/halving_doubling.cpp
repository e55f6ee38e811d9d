// Recursive halving and doubling (Rabenseifner 2004; Thakur, Rabenseifner & Gropp, IJHPCA 2005).
// Reduce-scatter: in round k swap half of what is left with the member whose number differs in bit k (nearest
// first) and add; then all-gather in reverse. 2 log2 p rounds and 2(p-1)/p of the array: optimal bandwidth
// with few rounds when p is a power of two. Every element is summed in the same balanced tree over ranks as
// recursive doubling does, so the bits are equal.
#include "comm/allreduce/butterfly.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr Pairing kByBits{
    .partner = [](int member, int, int step) noexcept { return member ^ (1 << step); },
    .halves = [](int member, int) noexcept { return static_cast<unsigned>(member); },
};

class HalvingDoubling final : public Schedule {
 public:
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return halving_doubling_plan(rank, topology.ranks(), count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return halving_doubling_cost(rank, topology.ranks(), count);
  }
  std::string_view name() const noexcept override { return "halving-doubling all-reduce"; }
  bool layout_invariant() const noexcept override { return true; }
};

}  // namespace

Plan halving_doubling_plan(int rank, int ranks, std::int64_t count) {
  return butterfly_plan(kByBits, rank, ranks, count);
}

Cost halving_doubling_cost(int rank, int ranks, std::int64_t count) {
  return butterfly_cost(kByBits, rank, ranks, count);
}

std::unique_ptr<Schedule> make_halving_doubling(const Options&) {
  return std::make_unique<HalvingDoubling>();
}

}  // namespace lockstep::comm
