// Measures compressed averages of one array beside the exact sum, in the columns of an all-reduce benchmark:
// sizes times compressors, time, wire bytes, and what came back against the true mean. Inputs are like
// gradients: a common part and noise with heavy tails. All compressors of a size take turns with the exact
// sum.
//
// What comes back is judged once, by the first exchange, when nothing is remembered yet. The error is against
// the true mean. An element is wrong when it is not the mean of what ranks sent (value - residual), less what
// the owner keeps back: the law of error feedback, so a fault of the exchange and not of the rounding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/bench_allreduce.h"

namespace lockstep::comm {

/// Sizes, turns, device, transport and schedules are those of an all-reduce benchmark; values are f32.
struct AveragingBench {
  AllreduceBench common;
  std::vector<std::string> compressors;  ///< "int8", "int8:rounding=stochastic"
};

/// One size with one compressor; the same on every rank.
struct AveragingRow {
  std::int64_t bytes = 0;  ///< of the values
  std::int64_t count = 0;
  std::string schedule;    ///< of exact sums
  std::string compressor;  ///< "none": the exact sum
  double median_s = 0;     ///< over iterations, each the slowest rank's
  double min_s = 0;
  double spread = 0;                  ///< (75th - 25th percentile) / median
  double algbw = 0;                   ///< bytes of the values per second
  double speedup = 0;                 ///< of the median against the exact sum's by the same schedule
  std::int64_t wire_bytes = 0;        ///< sent by the busiest rank
  double ratio = 0;                   ///< of the exact sum's wire bytes to these; 0: nothing is sent
  double encode_s = 0, decode_s = 0;  ///< medians, of the slowest rank
  double relative_error = 0;          ///< length of (what came back - true mean) / length of the true mean
  double cosine = 0;                  ///< between the two
  /// Elements over all ranks; nothing where the compressor keeps no residual to tell what was sent.
  std::optional<std::int64_t> wrong;
};

/// Collective; blocks. "none" comes first. Throws Fault::config for impossible options.
[[nodiscard]] std::vector<AveragingRow> bench_averaging(World& world, const AveragingBench& options);

[[nodiscard]] std::string averaging_table(const World& world, const std::vector<AveragingRow>& rows);
/// {"ranks", "world", "host", "rows": [{"bytes", ..., "time_us", ..., "wrong"}]}; wrong may be null.
[[nodiscard]] std::string averaging_json(const World& world, const std::vector<AveragingRow>& rows);

}  // namespace lockstep::comm
