// Measures all-reduce schedules as nccl-tests does: sizes times schedules, time, algbw, busbw, and how many
// results were wrong. Inputs are small integers whose sum is exact in any order, so any wrong element is a
// fault. What is timed is a sum on the communication stream, from a barrier to the last rank's end; short
// ones run many times in a row. All contenders of a size take turns, so that a disturbance meets them alike;
// medians and spread are over turns.
//
// algbw = bytes / time; busbw = algbw * 2(p-1)/p: what a link must carry, comparable at any number of ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/allreduce/schedule.h"
#include "comm/contender.h"
#include "comm/transport.h"
#include "core/dtype.h"

namespace lockstep::comm {

struct BenchSchedule {
  std::string name;
  std::shared_ptr<const Schedule> schedule;
  bool own_memory = false;  ///< never in memory that the transport lends
};

/// Every row of the table with default settings, or the named ones. A name may carry settings:
/// "double_tree:segment=4096". Throws Fault::config for an unknown name or setting.
[[nodiscard]] std::vector<BenchSchedule> bench_schedules(const std::vector<std::string>& names);

struct AllreduceBench {
  std::int64_t min_bytes = 8;
  std::int64_t max_bytes = 32 << 20;
  std::int64_t factor = 4;  ///< from one size to the next
  int warmup = 2;
  int iterations = 10;
  Dtype dtype = Dtype::f32;  ///< f32, f64, bf16 or i32
  double deadline_s = 60;
  Device device = {};              ///< of this rank's arrays
  std::string transport = "auto";  ///< with settings: "mpi:gpu_messages=staged"
  /// Arrays lie in memory that the transport lends, as training's gradients do, where it has some.
  bool lent_memory = true;
  std::vector<BenchSchedule> schedules;
  std::vector<Contender> beside;  ///< measured in turn with the schedules
};

/// One size with one schedule or contender; the same on every rank.
struct AllreduceRow {
  std::int64_t bytes = 0;
  std::int64_t count = 0;
  Dtype dtype = Dtype::f32;
  std::string schedule;
  double median_s = 0;  ///< over iterations, each the slowest rank's
  double min_s = 0;
  double spread = 0;  ///< (75th - 25th percentile) / median
  double algbw = 0;   ///< bytes per second
  double busbw = 0;
  std::int64_t wrong = 0;  ///< elements, over all ranks and iterations
};

/// What `bench allreduce --beside` measures: the library's own all-reduce as its users call it, where the
/// world has one, and "copy": every rank copies as many bytes at once. A sum must read each array and write
/// each result, so the copy is the yardstick. On GPUs of one node a rank copies to the next one:
/// with busbw as its algbw, what links carry both ways.
[[nodiscard]] std::vector<Contender> contenders_of(World& world, const AllreduceBench& options);

/// Collective; blocks. Throws Fault::config for impossible options.
[[nodiscard]] std::vector<AllreduceRow> bench_allreduce(World& world, const AllreduceBench& options);

/// The rows as a table with a head that names ranks and transport. With contenders among them also how often
/// faster than the best of the library's calls ("x mpi"), and the part of the copy's speed that is reached
/// ("of copy"), both by the least disturbed turn of each.
[[nodiscard]] std::string bench_table(const World& world, const std::vector<AllreduceRow>& rows);
/// The same as a JSON object: {"ranks", "world", "host", "rows": [{"bytes", ..., "time_us", ...}]}.
[[nodiscard]] std::string bench_json(const World& world, const std::vector<AllreduceRow>& rows);

/// For these schedules, or all, but not the library's: rounds, and array lengths that the busiest rank sends,
/// by the stated costs, at several numbers of ranks; and array lengths that leave the busiest of 4 nodes of 4
/// ranks; "-" where a schedule does not fit. Markdown.
[[nodiscard]] std::string cost_table(const std::vector<std::string>& names = {});

}  // namespace lockstep::comm
