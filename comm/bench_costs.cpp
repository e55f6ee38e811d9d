// What schedules cost by their stated formulas, as a table for people and for docs/collectives.md.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "comm/bench_allreduce.h"
#include "core/error.h"

namespace lockstep::comm {

namespace {

/// Divisible by every number of ranks below 17, so that chunks are equal.
constexpr std::int64_t kCount = 1'441'440;
constexpr int kRanks[] = {2, 3, 4, 8, 16, 17};

/// "-" in place of what a schedule that does not fit the ranks refuses to say.
template <class Text>
std::string where_it_fits(Text text) try {
  return text();
} catch (const Error& error) {
  if (error.fault() != Fault::config) throw;
  return " - |";
}

std::string cell(const Schedule& schedule, int ranks) {
  Cost busiest;
  for (int rank = 0; rank < ranks; ++rank) {
    const Cost cost = schedule.stated_cost(rank, ranks, kCount);
    busiest.rounds = cost.rounds;
    busiest.elements = std::max(busiest.elements, cost.elements);
  }
  return fmt::format(" {}: {:.2f} |", busiest.rounds, static_cast<double>(busiest.elements) / kCount);
}

/// Array lengths that leave the busiest node, 4 nodes of 4 ranks.
std::string across_nodes(const Schedule& schedule) {
  std::vector<int> nodes;
  for (int rank = 0; rank < 16; ++rank) nodes.push_back(rank / 4);
  const Topology topology(nodes);
  std::vector<std::int64_t> leaving(4);
  for (int rank = 0; rank < 16; ++rank) {
    for (const Round& round : schedule.plan(rank, topology, kCount).rounds) {
      for (const RangeTo& send : round.sends) {
        if (topology.node_of(send.to) != rank / 4)
          leaving[static_cast<std::size_t>(rank / 4)] += send.range.count;
      }
    }
  }
  const auto most = *std::max_element(leaving.begin(), leaving.end());
  return fmt::format(" {:.2f} |", static_cast<double>(most) / kCount);
}

}  // namespace

std::string cost_table(const std::vector<std::string>& names) {
  std::string text = "| schedule |";
  std::string line = "\n|---|";
  for (const int ranks : kRanks) {
    text += fmt::format(" {} ranks |", ranks);
    line += "---|";
  }
  text += " leaves a node, 4 x 4 |" + line + "---|\n";
  for (const BenchSchedule& each : bench_schedules(names)) {
    if (each.schedule->library()) continue;
    text += fmt::format("| `{}` |", each.name);
    for (const int ranks : kRanks) text += where_it_fits([&] { return cell(*each.schedule, ranks); });
    text += where_it_fits([&] { return across_nodes(*each.schedule); }) + "\n";
  }
  return text;
}

}  // namespace lockstep::comm
