// Recursive halving and doubling (Rabenseifner 2004; Thakur, Rabenseifner & Gropp, IJHPCA 2005).
// Reduce-scatter: in round k swap half of what is left with the member whose number differs in bit k (nearest
// first) and add; then all-gather in reverse. 2 log2 p rounds and 2(p-1)/p of the array: optimal bandwidth
// with few rounds when p is a power of two. Every element is summed in the same balanced tree over ranks as
// recursive doubling does, so the bits are equal.
#include "comm/allreduce/fold.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

/// What `member` is left with after `halvings`: at each the member with the bit clear keeps the low half, the
/// longer one when odd.
Range part_of(int member, int halvings, std::int64_t count) {
  Range range{0, count};
  for (int step = 0; step < halvings; ++step) range = chunk_of(range, 2, (member >> step) & 1);
  return range;
}

/// part_of().count in closed form.
std::int64_t part_count(int member, int halvings, std::int64_t count) {
  const std::int64_t parts = std::int64_t{1} << halvings;
  return (count - member % parts + parts - 1) / parts;
}

class HalvingDoubling final : public Schedule {
 public:
  Plan plan(int rank, int ranks, std::int64_t count) const override {
    const Fold fold(rank, ranks);
    return folded_plan(fold, count, 2 * fold.doublings, [&](int step) {
      return step < fold.doublings ? halving(fold, step, count)
                                   : doubling(fold, 2 * fold.doublings - 1 - step, count);
    });
  }

  // Halving sends all but the last part, doubling sends the parts of every size.
  Cost stated_cost(int rank, int ranks, std::int64_t count) const override {
    const Fold fold(rank, ranks);
    Cost core{.rounds = 2 * static_cast<std::int64_t>(fold.doublings)};
    if (fold.member < 0) return folded_cost(fold, count, core);
    for (int step = 0; step < fold.doublings; ++step) {
      const std::int64_t whole = part_count(fold.member, step, count);
      const std::int64_t kept = part_count(fold.member, step + 1, count);
      core.elements += whole;  // sends whole - kept when halving, kept when doubling
      core.messages += (whole > kept ? 1 : 0) + (kept > 0 ? 1 : 0);
    }
    return folded_cost(fold, count, core);
  }

  std::string_view name() const noexcept override { return "halving-doubling all-reduce"; }
  bool layout_invariant() const noexcept override { return true; }

 private:
  static Round halving(const Fold& fold, int step, std::int64_t count) {
    const int partner = fold.member ^ (1 << step);
    Round round;
    send(round, fold.rank_of(partner), part_of(partner, step + 1, count));
    receive(round, fold.rank_of(partner), part_of(fold.member, step + 1, count),
            partner < fold.member ? Arrival::add_as_left : Arrival::add_as_right);
    return round;
  }

  static Round doubling(const Fold& fold, int step, std::int64_t count) {
    const int partner = fold.member ^ (1 << step);
    Round round;
    send(round, fold.rank_of(partner), part_of(fold.member, step + 1, count));
    receive(round, fold.rank_of(partner), part_of(partner, step + 1, count), Arrival::replace);
    return round;
  }
};

}  // namespace

std::unique_ptr<Schedule> make_halving_doubling(const Options&) {
  return std::make_unique<HalvingDoubling>();
}

}  // namespace lockstep::comm
