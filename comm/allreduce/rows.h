// What the files of this folder show each other: one maker per schedule for the registry, and the small
// helpers of plans.
#pragma once

#include <memory>
#include <span>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

[[nodiscard]] std::unique_ptr<Schedule> make_library(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_ring(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_recursive_doubling(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_halving_doubling(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_double_tree(const Options& options);
/// Settings of the double tree.
[[nodiscard]] std::span<const Setting> double_tree_settings() noexcept;

/// Adds a transfer to a round unless the range is empty.
inline void send(Round& round, int to, Range range) {
  if (range.count > 0) round.sends.push_back({to, range});
}
inline void receive(Round& round, int from, Range range, Arrival arrival) {
  if (range.count > 0) round.receives.push_back({from, range, arrival});
}

}  // namespace lockstep::comm
