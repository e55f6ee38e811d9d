// An all-reduce schedule is a pure function from (rank, ranks, count) to rounds: who sends which range to
// whom, and what becomes of what arrives. One runner executes every plan over any transport, so a schedule is
// index arithmetic only and its stated cost can be proved by counting. Words as in reference texts: chunk (a
// rank's part of the array), segment (a pipelined piece of a chunk), round (transfers that happen together).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/topology.h"
#include "core/options.h"
#include "core/registry.h"

namespace lockstep::comm {

/// Elements [first, first + count) of the array.
struct Range {
  std::int64_t first = 0;
  std::int64_t count = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

/// Chunk `index` of `parts` nearly equal chunks of `whole`; the first (count mod parts) are one element
/// longer.
[[nodiscard]] Range chunk_of(Range whole, int parts, int index) noexcept;

/// What the receiver does with a range that arrives: x = arrived, x = arrived + x, or x = x + arrived.
/// Schedules put the lower rank's operand on the left, so that partners add the same two numbers in the same
/// order.
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

/// A sum or copy inside the rank, of two ranges of the same length that are apart or equal: what becomes of
/// `to` is what would become of it if `from` had arrived.
struct Local {
  Range from;
  Range to;
  Arrival arrival = Arrival::replace;
};

/// Transfers that happen together: what is sent are the values before the round; arrivals are taken in the
/// order of `receives` once all have come, then `locals` run in order. A range that is replaced meets no
/// other range of the same round. Ranges are never empty; a round may be (a rank that rests). Between two
/// ranks the order of sends is the order of receives.
struct Round {
  std::vector<RangeTo> sends;
  std::vector<RangeFrom> receives;
  std::vector<Local> locals;
};

/// What one rank sends, and the number of rounds (rests included: the same on every rank).
struct Cost {
  std::int64_t rounds = 0;
  std::int64_t messages = 0;
  std::int64_t elements = 0;
  friend bool operator==(const Cost&, const Cost&) = default;
  friend Cost operator+(const Cost& a, const Cost& b) noexcept {
    return {a.rounds + b.rounds, a.messages + b.messages, a.elements + b.elements};
  }
};

struct Plan {
  std::vector<Round> rounds;
  /// Elements of working memory that the plan needs; ranges name them as if they followed the array. Their
  /// first values are anything.
  std::int64_t workspace = 0;
  [[nodiscard]] Cost cost() const;
};

struct PeerSums;

class Schedule {
 public:
  virtual ~Schedule() = default;
  /// The rounds of `rank` for a sum of `count` elements over the ranks of `topology` (a number of ranks will
  /// do: then all are on one node). All ranks' plans match: every send has its receive in the same round.
  /// Valid for any ranks >= 1 and count >= 0; no rounds for one rank or no elements. For `library` the plan
  /// is what runs where the transport has no all-reduce of its own.
  [[nodiscard]] virtual Plan plan(int rank, const Topology& topology, std::int64_t count) const = 0;
  /// What plan() costs, by closed formula: tests prove it against the plan and the transport's counters.
  [[nodiscard]] virtual Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const = 0;
  /// Static text for reports: "ring all-reduce".
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// True for the transport's own all-reduce (Transport::library_sum).
  [[nodiscard]] virtual bool library() const noexcept { return false; }
  /// True when the ranks' own memory may be summed in place (Transport::shared_sum) instead of running the
  /// plan.
  [[nodiscard]] virtual bool shared() const noexcept { return false; }
  /// Not null: on GPUs of one node shared_sum() goes through memory that they map from each other, like this.
  [[nodiscard]] virtual const PeerSums* peer() const noexcept { return nullptr; }
  /// True when every element is summed in the same balanced bracket over ranks whatever its place in the
  /// array, so that bits do not depend on buckets.
  [[nodiscard]] virtual bool layout_invariant() const noexcept = 0;
};

/// The table of schedules; the config kind is `allreduce`.
[[nodiscard]] const Registry<Schedule>& schedules();
/// A schedule with settings in its name: "ring", "double_tree:segment=4096". Throws Fault::config for an
/// unknown name or setting.
[[nodiscard]] std::unique_ptr<Schedule> schedule_called(const std::string& text);
/// What the schedule depends on when the user names none.
struct SchedulePlace {
  bool host = true;           ///< arrays lie in host memory
  bool one_node = true;       ///< all ranks do
  bool reproducible = false;  ///< bits must be the same at other numbers of ranks
};
/// The row used when the user names none. Why this one: registry.cpp.
[[nodiscard]] std::string_view default_schedule(const SchedulePlace& place) noexcept;

}  // namespace lockstep::comm
