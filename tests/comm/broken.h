// A schedule that sums wrongly, for tests of what must notice.
#pragma once

#include <memory>
#include <string_view>

#include "comm/allreduce/schedule.h"
#include "tests/comm/plans.h"

namespace lockstep::comm {

/// The ring without its last round.
class Broken final : public Schedule {
 public:
  Plan plan(int rank, const Topology& ranks, std::int64_t count) const override {
    Plan plan = ring_->plan(rank, ranks, count);
    if (!plan.rounds.empty()) plan.rounds.pop_back();
    return plan;
  }
  Cost stated_cost(int, const Topology&, std::int64_t) const override { return {}; }
  std::string_view name() const noexcept override { return "broken"; }
  bool layout_invariant() const noexcept override { return false; }

 private:
  std::shared_ptr<const Schedule> ring_ = schedule_named("ring");
};

}  // namespace lockstep::comm
