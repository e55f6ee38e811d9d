// What the benchmarks of this floor share: sizes, the transport they measure, and what is said about repeated
// times.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/bench_allreduce.h"
#include "comm/collectives.h"
#include "core/stopwatch.h"

namespace lockstep::comm {

/// Throws Fault::config for sizes that are no sweep and for turns that measure nothing.
void check_sweep(const AllreduceBench& options);
/// Bytes, from the smallest.
[[nodiscard]] std::vector<std::int64_t> sizes_of(const AllreduceBench& options);
/// Collective.
[[nodiscard]] std::unique_ptr<Transport> transport_of(World& world, const AllreduceBench& options,
                                                      const Schedule& schedule);

/// How many sums are timed in a row: short ones would be lost in the barrier before them, and on a GPU in the
/// time to launch them.
[[nodiscard]] int in_a_row(const FlatSpan& data);

/// Collective, blocks. Seconds of what `enqueue` enqueues on the stream, on this rank. Ranks begin together,
/// behind two barriers: one that has kept them waiting is left one by one. They end before a third, so that
/// nobody works on while others finish.
[[nodiscard]] double seconds_of(Collectives& collectives, Stopwatch& stopwatch, Stream& stream,
                                const std::function<void()>& enqueue);

struct TimeSummary {
  double median_s = 0;
  double min_s = 0;
  double spread = 0;  ///< (75th - 25th percentile) / median
};
/// Of at least one time.
[[nodiscard]] TimeSummary summary_of(std::vector<double> times);

}  // namespace lockstep::comm
