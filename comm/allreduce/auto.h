// The row `auto`: a schedule that is chosen after the collectives that use it were made (comm/autotune).
#pragma once

#include <memory>
#include <utility>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

/// The row `auto`: what is chosen later does the work; until then `shared`.
class AutoSchedule final : public Schedule {
 public:
  AutoSchedule();
  /// From now on `chosen` does the work. Before the first sum; all ranks alike.
  void adopt(std::unique_ptr<Schedule> chosen) { chosen_ = std::move(chosen); }

  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return chosen_->plan(rank, topology, count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return chosen_->stated_cost(rank, topology, count);
  }
  std::string_view name() const noexcept override { return chosen_->name(); }
  bool library() const noexcept override { return chosen_->library(); }
  bool shared() const noexcept override { return chosen_->shared(); }
  const PeerSums* peer() const noexcept override { return chosen_->peer(); }
  /// The choice depends on timings: refused in reproducible mode.
  bool layout_invariant() const noexcept override { return false; }

 private:
  std::unique_ptr<Schedule> chosen_;
};

}  // namespace lockstep::comm
