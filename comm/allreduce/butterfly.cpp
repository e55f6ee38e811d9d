#include "comm/allreduce/butterfly.h"

#include "comm/allreduce/fold.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

/// What is left after `halvings`; the lower half is the longer one when odd.
Range part_of(unsigned halves, int halvings, std::int64_t count) {
  Range range{0, count};
  for (int step = 0; step < halvings; ++step)
    range = chunk_of(range, 2, static_cast<int>(halves >> step) & 1);
  return range;
}

/// part_of().count in closed form.
std::int64_t part_count(unsigned halves, int halvings, std::int64_t count) {
  const std::int64_t parts = std::int64_t{1} << halvings;
  return (count - static_cast<std::int64_t>(halves) % parts + parts - 1) / parts;
}

/// One step of one member: the range it keeps and the one its partner keeps.
struct Step {
  Step(const Pairing& pairing, const Fold& fold, int step, std::int64_t count)
      : partner(pairing.partner(fold.member, fold.members, step)),
        rank(fold.rank_of(partner)),
        kept(part_of(pairing.halves(fold.member, fold.members), step + 1, count)),
        given(part_of(pairing.halves(partner, fold.members), step + 1, count)),
        lower(partner < fold.member) {}
  [[nodiscard]] Round halving() const {
    Round round;
    send(round, rank, given);
    receive(round, rank, kept, lower ? Arrival::add_as_left : Arrival::add_as_right);
    return round;
  }
  [[nodiscard]] Round doubling() const {
    Round round;
    send(round, rank, kept);
    receive(round, rank, given, Arrival::replace);
    return round;
  }

  int partner;
  int rank;  // the partner's
  Range kept;
  Range given;
  bool lower;  // the partner is
};

}  // namespace

Plan butterfly_plan(const Pairing& pairing, int rank, int ranks, std::int64_t count) {
  const Fold fold(rank, ranks);
  return folded_plan(fold, count, 2 * fold.doublings, [&](int round) {
    const bool halving = round < fold.doublings;
    const Step step(pairing, fold, halving ? round : 2 * fold.doublings - 1 - round, count);
    return halving ? step.halving() : step.doubling();
  });
}

// Halving sends all but the last part, doubling sends the parts of every size.
Cost butterfly_cost(const Pairing& pairing, int rank, int ranks, std::int64_t count) {
  const Fold fold(rank, ranks);
  Cost core{.rounds = 2 * static_cast<std::int64_t>(fold.doublings)};
  if (fold.member < 0) return folded_cost(fold, count, core);
  const unsigned halves = pairing.halves(fold.member, fold.members);
  for (int step = 0; step < fold.doublings; ++step) {
    const std::int64_t whole = part_count(halves, step, count);
    const std::int64_t kept = part_count(halves, step + 1, count);
    core.elements += whole;  // sends whole - kept when halving, kept when doubling
    core.messages += (whole > kept ? 1 : 0) + (kept > 0 ? 1 : 0);
  }
  return folded_cost(fold, count, core);
}

}  // namespace lockstep::comm
