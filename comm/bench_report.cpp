// The rows of an all-reduce benchmark as a table in the columns of nccl-tests, and as JSON.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "comm/bench_allreduce.h"

namespace lockstep::comm {

namespace {

/// The shortest time of a size among contenders whose name begins with `prefix`; 0: none was measured.
double best_of(const std::vector<AllreduceRow>& rows, std::int64_t bytes, std::string_view prefix) {
  double best = 0;
  for (const AllreduceRow& row : rows) {
    if (row.bytes != bytes || !row.schedule.starts_with(prefix)) continue;
    best = best == 0 ? row.min_s : std::min(best, row.min_s);
  }
  return best;
}

constexpr std::string_view kLibrary = "mpi_";
constexpr std::string_view kCopy = "copy";

}  // namespace

std::string bench_table(const World& world, const std::vector<AllreduceRow>& rows) {
  const bool beside = !rows.empty() && best_of(rows, rows.front().bytes, kCopy) > 0;
  const std::string more = beside ? fmt::format(" {:>7} {:>7}", "x mpi", "of copy") : "";
  std::string text =
      fmt::format("# all-reduce: {} ranks, {}, rank 0 on {}, where {} may run on {} processors\n",
                  world.size(), world.description(), world.host(), world.local_size(), world.processors());
  text += "# time: median over iterations of the slowest rank, spread: (p75 - p25) / median\n";
  text += fmt::format("#{:>11} {:>12} {:>6}  {:<26} {:>12} {:>12} {:>7} {:>9} {:>9}{} {:>7}\n", "size",
                      "count", "type", "schedule", "time", "min", "spread", "algbw", "busbw", more, "#wrong");
  text += fmt::format("#{:>11} {:>12} {:>6}  {:<26} {:>12} {:>12} {:>7} {:>9} {:>9}{} {:>7}\n", "(B)",
                      "(elements)", "", "", "(us)", "(us)", "(%)", "(GB/s)", "(GB/s)",
                      std::string(more.size(), ' '), "");
  for (const AllreduceRow& row : rows) {
    const std::string ratios =
        beside ? fmt::format(" {:>7.2f} {:>7.2f}", best_of(rows, row.bytes, kLibrary) / row.min_s,
                             best_of(rows, row.bytes, kCopy) / row.min_s)
               : "";
    text +=
        fmt::format(" {:>11} {:>12} {:>6}  {:<26} {:>12.1f} {:>12.1f} {:>7.1f} {:>9.3f} {:>9.3f}{} {:>7}\n",
                    row.bytes, row.count, name_of(row.dtype), row.schedule, row.median_s * 1e6,
                    row.min_s * 1e6, row.spread * 100, row.algbw / 1e9, row.busbw / 1e9, ratios, row.wrong);
  }
  return text;
}

std::string bench_json(const World& world, const std::vector<AllreduceRow>& rows) {
  nlohmann::ordered_json out{{"ranks", world.size()},
                             {"world", world.description()},
                             {"host", world.host()},
                             {"rows", nlohmann::ordered_json::array()}};
  for (const AllreduceRow& row : rows) {
    out["rows"].push_back({{"bytes", row.bytes},
                           {"count", row.count},
                           {"type", name_of(row.dtype)},
                           {"schedule", row.schedule},
                           {"time_us", row.median_s * 1e6},
                           {"min_us", row.min_s * 1e6},
                           {"spread", row.spread},
                           {"algbw_gb_s", row.algbw / 1e9},
                           {"busbw_gb_s", row.busbw / 1e9},
                           {"wrong", row.wrong}});
  }
  return out.dump(2);
}

}  // namespace lockstep::comm
