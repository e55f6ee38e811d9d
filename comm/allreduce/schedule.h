// An all-reduce schedule is a pure function from (rank, ranks, count) to rounds: who sends which range to
// whom, and what becomes of what arrives. One runner executes every plan over any transport, so a schedule is
// index arithmetic only and its stated cost can be proved by counting. Words as in reference texts: chunk (a
// rank's part of the array), segment (a pipelined piece of a chunk), round (transfers that happen together).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/registry.h"

namespace lockstep::comm {

/// Elements [first, first + count) of the array.
struct Range {
  std::int64_t first = 0;
  std::int64_t count = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

/// What the receiver does with a range: replace its own, or add with the lower rank's operand on the left, as
/// `left` says.
enum class Arrival : std::uint8_t { replace, add_as_left, add_as_right };

struct RangeTo {
  int to = 0;
  Range range;
};
struct RangeFrom {
  int from = 0;
  Range range;
  Arrival arrival = Arrival::replace;
};

struct Round {
  std::vector<RangeTo> sends;
  std::vector<RangeFrom> receives;
};

/// What one rank sends in all rounds; empty ranges are not sent.
struct Cost {
  std::int64_t rounds = 0;
  std::int64_t messages = 0;
  std::int64_t elements = 0;
  friend bool operator==(const Cost&, const Cost&) = default;
};

struct Plan {
  std::vector<Round> rounds;
  [[nodiscard]] Cost cost() const;
};

class Schedule {
 public:
  virtual ~Schedule() = default;
  /// The rounds of `rank` for a sum of `count` elements over `ranks` ranks. All ranks' plans match: every
  /// send has its receive in the same round. Valid for any ranks >= 1 and count >= 0.
  [[nodiscard]] virtual Plan plan(int rank, int ranks, std::int64_t count) const = 0;
  /// The largest number of elements any rank sends, by the closed formula of the paper: proved against plan()
  /// by tests.
  [[nodiscard]] virtual Cost stated_cost(int rank, int ranks, std::int64_t count) const = 0;
  /// True for the transport's own all-reduce: no plan of ours.
  [[nodiscard]] virtual bool library() const noexcept { return false; }
  /// True when every element is summed in the same balanced bracket over ranks whatever its place in the
  /// array, so that bits do not depend on buckets.
  [[nodiscard]] virtual bool layout_invariant() const noexcept = 0;
};

/// The table of schedules.
[[nodiscard]] const Registry<Schedule>& schedules();

}  // namespace lockstep::comm
