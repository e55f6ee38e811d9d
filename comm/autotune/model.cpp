#include "comm/autotune/model.h"

#include <algorithm>

namespace lockstep::comm {

// Minimises sum ((a + b x - t) / t)^2: the normal equations with weights 1/t^2.
Line fit_line(std::span<const std::pair<double, double>> points) {
  double w = 0, wx = 0, wxx = 0, wt = 0, wxt = 0;
  for (const auto& [x, t] : points) {
    const double weight = 1 / (t * t);
    w += weight;
    wx += weight * x;
    wxx += weight * x * x;
    wt += weight * t;
    wxt += weight * x * t;
  }
  const double determinant = w * wxx - wx * wx;
  if (determinant <= 0) return {w > 0 ? wt / w : 0, 0};
  const double slope = std::max(0.0, (w * wxt - wx * wt) / determinant);
  return {std::max(0.0, (wt - slope * wx) / w), slope};
}

namespace {

constexpr double kBytes = sizeof(float);

/// Sends of one rank follow one another on its port; what arrives is added afterwards.
double round_s(const CostModel& model, const Topology& topology, int rank, const Round& round) {
  double seconds = 0;
  for (const RangeTo& send : round.sends) {
    const bool near = topology.node_of(send.to) == topology.node_of(rank);
    seconds += (near ? model.inside : model.across).at(kBytes * static_cast<double>(send.range.count));
  }
  std::int64_t added = 0;
  for (const RangeFrom& receive : round.receives) {
    if (receive.arrival != Arrival::replace) added += receive.range.count;
  }
  for (const Local& local : round.locals) added += local.to.count;
  return seconds + kBytes * static_cast<double>(added) * model.add_s_per_byte;
}

}  // namespace

double predicted_s(const CostModel& model, const std::string& name, const Schedule& schedule,
                   const Topology& topology, std::int64_t bytes) {
  if (const auto found = model.whole.find(name); found != model.whole.end()) {
    return found->second.at(static_cast<double>(bytes));
  }
  std::vector<double> slowest;
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    const Plan plan = schedule.plan(rank, topology, bytes / static_cast<std::int64_t>(sizeof(float)));
    slowest.resize(std::max(slowest.size(), plan.rounds.size()));
    for (std::size_t i = 0; i < plan.rounds.size(); ++i) {
      slowest[i] = std::max(slowest[i], round_s(model, topology, rank, plan.rounds[i]));
    }
  }
  double total = 0;
  for (const double each : slowest) total += each;
  return total;
}

}  // namespace lockstep::comm
