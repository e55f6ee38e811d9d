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
[[nodiscard]] std::unique_ptr<Schedule> make_swing(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_double_tree(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_torus2d(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_hierarchical(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_bruck(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_one_shot(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_two_shot(const Options& options);
[[nodiscard]] std::unique_ptr<Schedule> make_shared_memory(const Options& options);
[[nodiscard]] std::span<const Setting> shared_memory_settings() noexcept;
[[nodiscard]] std::unique_ptr<Schedule> make_peer(const Options& options);
[[nodiscard]] std::span<const Setting> peer_settings() noexcept;
[[nodiscard]] std::unique_ptr<Schedule> make_auto(const Options& options);
[[nodiscard]] std::span<const Setting> auto_settings() noexcept;
[[nodiscard]] std::span<const Setting> ring_settings() noexcept;
[[nodiscard]] std::span<const Setting> double_tree_settings() noexcept;
[[nodiscard]] std::span<const Setting> torus2d_settings() noexcept;

// Schedules that others are made of.
[[nodiscard]] std::unique_ptr<Schedule> make_shared_plans(std::int64_t one_shot);
[[nodiscard]] Plan ring_plan(int rank, int ranks, std::int64_t count, std::int64_t segment);
[[nodiscard]] Cost ring_cost(int rank, int ranks, std::int64_t count, std::int64_t segment);
[[nodiscard]] Plan halving_doubling_plan(int rank, int ranks, std::int64_t count);
[[nodiscard]] Cost halving_doubling_cost(int rank, int ranks, std::int64_t count);
[[nodiscard]] Plan one_shot_plan(int rank, int ranks, std::int64_t count);
[[nodiscard]] Cost one_shot_cost(int ranks, std::int64_t count);
[[nodiscard]] Plan two_shot_plan(int rank, int ranks, std::int64_t count);
[[nodiscard]] Cost two_shot_cost(int rank, int ranks, std::int64_t count);

/// Adds a transfer to a round unless the range is empty.
inline void send(Round& round, int to, Range range) {
  if (range.count > 0) round.sends.push_back({to, range});
}
inline void receive(Round& round, int from, Range range, Arrival arrival) {
  if (range.count > 0) round.receives.push_back({from, range, arrival});
}

}  // namespace lockstep::comm
