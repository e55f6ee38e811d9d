// Swing (De Sensi et al., NSDI 2024): halving and doubling whose partners stay near on a ring or torus. In
// step s rank r swaps with r + rho(s) when r is even, with r - rho(s) when it is odd, where rho(s) = sum of
// (-2)^i for i = 0..s: distances 1, 1, 3, 5, 11, ... instead of 1, 2, 4, 8, ... Rounds and bytes are those of
// halving-doubling. Defined for powers of two; other rank counts are folded, as for halving-doubling. The
// bracket of an element depends on its place, so bits depend on buckets.
#include "comm/allreduce/butterfly.h"
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr int rho(int step) noexcept {
  int sum = 0;
  for (int i = 0, term = 1; i <= step; ++i, term *= -2) sum += term;
  return sum;
}

int partner(int member, int members, int step) noexcept {
  const int distance = rho(step);
  const int other = member % 2 == 0 ? member + distance : member - distance;
  return ((other % members) + members) % members;
}

// The ranks that rank r reaches in steps s, s + 1, ... are the even and the odd numbers of one residue class
// each, modulo 2^(s+1): r's own class and that of its partner, because distances of one sign differ by
// multiples of 2^(s+1). The even class names the set; in step s - 1 it splits into the two whose even classes
// differ in bit s. The last step splits an even rank from an odd one.
unsigned halves(int member, int members) noexcept {
  unsigned bits = 0;
  int step = 0;
  for (; (2 << step) < members; ++step) {
    const int even = member % 2 == 0 ? member : partner(member, members, step + 1);
    bits |= (static_cast<unsigned>(even) >> (step + 1) & 1u) << step;
  }
  if (members > 1) bits |= static_cast<unsigned>(member % 2) << step;
  return bits;
}

constexpr Pairing kSwing{.partner = partner, .halves = halves};

class Swing final : public Schedule {
 public:
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return butterfly_plan(kSwing, rank, topology.ranks(), count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return butterfly_cost(kSwing, rank, topology.ranks(), count);
  }
  std::string_view name() const noexcept override { return "swing all-reduce"; }
  bool layout_invariant() const noexcept override { return false; }
};

}  // namespace

std::unique_ptr<Schedule> make_swing(const Options&) { return std::make_unique<Swing>(); }

}  // namespace lockstep::comm
