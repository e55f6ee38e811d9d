// Runs the plans of all ranks in memory, one round after another, as the runner would over a transport: so
// that a schedule can be judged at any number of ranks without threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

/// Every schedule of the table with its default settings; double_tree and ring also with a segment of 7
/// elements.
struct NamedSchedule {
  std::string name;
  std::shared_ptr<const Schedule> schedule;
};

inline std::vector<NamedSchedule> all_schedules() {
  std::vector<NamedSchedule> all;
  for (const auto& row : schedules().rows()) {
    all.push_back({std::string(row.name), schedules().create(row.name, Options::of(row.settings))});
  }
  for (const std::string name : {"double_tree", "ring"}) {
    const auto& row = schedules().row(name);
    all.push_back({name + "_segment_7", row.make(Options::of(row.settings, {{"segment", "7"}}))});
  }
  return all;
}
/// A segment of 7 elements makes plans of large arrays slow to check, not different.
inline bool has_tiny_segments(const std::string& name) { return name.ends_with("_segment_7"); }

/// Ranks on nodes: equal, ragged, dealt out in turn, and alone.
inline std::vector<Topology> topologies() {
  using Nodes = std::vector<int>;
  return {Topology(Nodes{0, 0, 1, 1}),
          Topology(Nodes{0, 0, 0, 1}),
          Topology(Nodes{0, 1, 1, 2, 2, 2}),
          Topology(Nodes{0, 1, 0, 1, 0}),
          Topology(Nodes{0, 1, 2}),
          Topology(Nodes{0, 0, 0, 0, 1, 1, 1, 1}),
          Topology(Nodes{2, 2, 2, 0, 0, 0, 1, 1, 1}),
          Topology(Nodes{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5})};
}

inline std::shared_ptr<const Schedule> schedule_named(const std::string& name) {
  return schedules().create(name, Options::of(schedules().row(name).settings));
}

inline std::vector<Plan> plans_of(const Schedule& schedule, const Topology& topology, std::int64_t count) {
  std::vector<Plan> plans;
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    plans.push_back(schedule.plan(rank, topology, count));
  }
  return plans;
}

template <class T>
using Messages = std::map<std::pair<int, int>, std::vector<std::vector<T>>>;  // (from, to) -> in order

template <class T>
void take(Range range, Arrival arrival, const std::vector<T>& message, std::vector<T>& mine) {
  if (static_cast<std::int64_t>(message.size()) != range.count) throw std::logic_error("sizes differ");
  for (std::size_t i = 0; i < message.size(); ++i) {
    T& x = mine[static_cast<std::size_t>(range.first) + i];
    if (arrival == Arrival::replace) x = message[i];
    if (arrival == Arrival::add_as_left) x = static_cast<T>(message[i] + x);
    if (arrival == Arrival::add_as_right) x = static_cast<T>(x + message[i]);
  }
}

template <class T>
std::vector<T> copy_of(Range range, const std::vector<T>& array) {
  const auto first = array.begin() + range.first;
  return {first, first + range.count};
}

template <class T>
void run_round(const std::vector<Plan>& plans, std::size_t round, std::vector<std::vector<T>>& arrays) {
  Messages<T> messages;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const RangeTo& send : plans[rank].rounds[round].sends) {
      messages[{static_cast<int>(rank), send.to}].push_back(copy_of(send.range, arrays[rank]));
    }
  }
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const RangeFrom& receive : plans[rank].rounds[round].receives) {
      auto& queue = messages[{receive.from, static_cast<int>(rank)}];
      if (queue.empty()) throw std::logic_error("a receive without a send");
      take(receive.range, receive.arrival, queue.front(), arrays[rank]);
      queue.erase(queue.begin());
    }
    for (const Local& local : plans[rank].rounds[round].locals) {
      take(local.to, local.arrival, copy_of(local.from, arrays[rank]), arrays[rank]);
    }
  }
  for (const auto& [pair, queue] : messages) {
    if (!queue.empty()) throw std::logic_error("a send without a receive");
  }
}

/// Sums `arrays` (one per rank) in place. Throws when sends and receives do not match.
template <class T>
void run_plans(const Schedule& schedule, std::vector<std::vector<T>>& arrays, const Topology& topology) {
  const std::size_t count = arrays[0].size();
  const auto plans = plans_of(schedule, topology, static_cast<std::int64_t>(count));
  for (std::size_t rank = 0; rank < arrays.size(); ++rank) {
    arrays[rank].resize(count + static_cast<std::size_t>(plans[rank].workspace), T(113));
  }
  for (const Plan& plan : plans) {
    if (plan.rounds.size() != plans[0].rounds.size()) throw std::logic_error("ranks disagree on the rounds");
  }
  for (std::size_t round = 0; round < plans[0].rounds.size(); ++round) run_round(plans, round, arrays);
  for (auto& array : arrays) array.resize(count);
}
template <class T>
void run_plans(const Schedule& schedule, std::vector<std::vector<T>>& arrays) {
  run_plans(schedule, arrays, static_cast<int>(arrays.size()));
}

}  // namespace lockstep::comm
