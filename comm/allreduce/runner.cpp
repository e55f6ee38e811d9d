#include "comm/allreduce/runner.h"

#include <algorithm>
#include <vector>

#include "core/vector/vector.h"

namespace lockstep::comm {

namespace {

/// An addition that follows a round's transfer.
struct Addition {
  FlatSpan arrived;
  FlatSpan mine;
  Arrival arrival;
};

/// The array with its workspace behind it, and room for what arrives to be added.
struct Places {
  FlatSpan data;
  FlatSpan workspace;
  FlatSpan arrivals;
  [[nodiscard]] FlatSpan at(const Range& range) const {
    return range.first < data.count ? data.part(range.first, range.count)
                                    : workspace.part(range.first - data.count, range.count);
  }
};

void add(const Addition& each, Stream& stream) {
  if (each.arrival == Arrival::replace) return vector::cast(each.arrived, each.mine, stream);
  const bool left = each.arrival == Arrival::add_as_left;
  vector::sum(left ? each.arrived : each.mine, left ? each.mine : each.arrived, each.mine, stream);
}

void run_round(const Round& round, const Places& places, Transport& transport, const Operation& operation,
               Stream& stream) {
  std::vector<Send> sends;
  std::vector<Recv> receives;
  std::vector<Addition> additions;
  for (const RangeTo& send : round.sends) sends.push_back({send.to, places.at(send.range)});
  std::int64_t used = 0;
  for (const RangeFrom& receive : round.receives) {
    const FlatSpan mine = places.at(receive.range);
    if (receive.arrival == Arrival::replace) {
      receives.push_back({receive.from, mine});
      continue;
    }
    const FlatSpan arrived = places.arrivals.part(used, mine.count);
    used += mine.count;
    receives.push_back({receive.from, arrived});
    additions.push_back({arrived, mine, receive.arrival});
  }
  transport.transfer(sends, receives, operation, stream);
  for (const Addition& each : additions) add(each, stream);
  for (const Local& each : round.locals)
    add({places.at(each.from), places.at(each.to), each.arrival}, stream);
}

}  // namespace

std::int64_t scratch_elements(const Plan& plan) noexcept {
  std::int64_t most = 0;
  for (const Round& round : plan.rounds) {
    std::int64_t added = 0;
    for (const RangeFrom& receive : round.receives) {
      if (receive.arrival != Arrival::replace) added += receive.range.count;
    }
    most = std::max(most, added);
  }
  return plan.workspace + most;
}

void run_plan(const Plan& plan, FlatSpan data, FlatSpan scratch, Transport& transport,
              const Operation& operation, Stream& stream) {
  const Places places{data, scratch.part(0, plan.workspace),
                      scratch.part(plan.workspace, scratch.count - plan.workspace)};
  for (const Round& round : plan.rounds) run_round(round, places, transport, operation, stream);
}

}  // namespace lockstep::comm
