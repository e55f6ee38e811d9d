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

/// Every schedule of the table with its default settings; double_tree also with a segment of 7 elements.
struct NamedSchedule {
  std::string name;
  std::shared_ptr<const Schedule> schedule;
};

inline std::vector<NamedSchedule> all_schedules() {
  std::vector<NamedSchedule> all;
  for (const auto& row : schedules().rows()) {
    all.push_back({std::string(row.name), schedules().create(row.name, Options::of(row.settings))});
  }
  const auto& tree = schedules().row("double_tree");
  all.push_back({"double_tree_segment_7", tree.make(Options::of(tree.settings, {{"segment", "7"}}))});
  return all;
}

inline std::shared_ptr<const Schedule> schedule_named(const std::string& name) {
  return schedules().create(name, Options::of(schedules().row(name).settings));
}

inline std::vector<Plan> plans_of(const Schedule& schedule, int ranks, std::int64_t count) {
  std::vector<Plan> plans;
  for (int rank = 0; rank < ranks; ++rank) plans.push_back(schedule.plan(rank, ranks, count));
  return plans;
}

template <class T>
using Messages = std::map<std::pair<int, int>, std::vector<std::vector<T>>>;  // (from, to) -> in order

template <class T>
void take(const RangeFrom& receive, const std::vector<T>& message, std::vector<T>& mine) {
  if (static_cast<std::int64_t>(message.size()) != receive.range.count)
    throw std::logic_error("sizes differ");
  for (std::size_t i = 0; i < message.size(); ++i) {
    T& x = mine[static_cast<std::size_t>(receive.range.first) + i];
    if (receive.arrival == Arrival::replace) x = message[i];
    if (receive.arrival == Arrival::add_as_left) x = static_cast<T>(message[i] + x);
    if (receive.arrival == Arrival::add_as_right) x = static_cast<T>(x + message[i]);
  }
}

template <class T>
void run_round(const std::vector<Plan>& plans, std::size_t round, std::vector<std::vector<T>>& arrays) {
  Messages<T> messages;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const RangeTo& send : plans[rank].rounds[round].sends) {
      const auto first = arrays[rank].begin() + send.range.first;
      messages[{static_cast<int>(rank), send.to}].emplace_back(first, first + send.range.count);
    }
  }
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const RangeFrom& receive : plans[rank].rounds[round].receives) {
      auto& queue = messages[{receive.from, static_cast<int>(rank)}];
      if (queue.empty()) throw std::logic_error("a receive without a send");
      take(receive, queue.front(), arrays[rank]);
      queue.erase(queue.begin());
    }
  }
  for (const auto& [pair, queue] : messages) {
    if (!queue.empty()) throw std::logic_error("a send without a receive");
  }
}

/// Sums `arrays` (one per rank) in place. Throws when sends and receives do not match.
template <class T>
void run_plans(const Schedule& schedule, std::vector<std::vector<T>>& arrays) {
  const auto ranks = static_cast<int>(arrays.size());
  const auto plans = plans_of(schedule, ranks, static_cast<std::int64_t>(arrays[0].size()));
  for (const Plan& plan : plans) {
    if (plan.rounds.size() != plans[0].rounds.size()) throw std::logic_error("ranks disagree on the rounds");
  }
  for (std::size_t round = 0; round < plans[0].rounds.size(); ++round) run_round(plans, round, arrays);
}

}  // namespace lockstep::comm
