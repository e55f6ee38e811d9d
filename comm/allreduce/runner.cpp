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

void run_round(const Round& round, FlatSpan data, FlatSpan scratch, Transport& transport,
               const Operation& operation, Stream& stream) {
  std::vector<Send> sends;
  std::vector<Recv> receives;
  std::vector<Addition> additions;
  for (const RangeTo& send : round.sends)
    sends.push_back({send.to, data.part(send.range.first, send.range.count)});
  std::int64_t used = 0;
  for (const RangeFrom& receive : round.receives) {
    const FlatSpan mine = data.part(receive.range.first, receive.range.count);
    if (receive.arrival == Arrival::replace) {
      receives.push_back({receive.from, mine});
      continue;
    }
    const FlatSpan arrived = scratch.part(used, mine.count);
    used += mine.count;
    receives.push_back({receive.from, arrived});
    additions.push_back({arrived, mine, receive.arrival});
  }
  transport.transfer(sends, receives, operation, stream);
  for (const Addition& each : additions) {
    const bool left = each.arrival == Arrival::add_as_left;
    vector::sum(left ? each.arrived : each.mine, left ? each.mine : each.arrived, each.mine, stream);
  }
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
  return most;
}

void run_plan(const Plan& plan, FlatSpan data, FlatSpan scratch, Transport& transport,
              const Operation& operation, Stream& stream) {
  for (const Round& round : plan.rounds) run_round(round, data, scratch, transport, operation, stream);
}

}  // namespace lockstep::comm
