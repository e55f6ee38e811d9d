// What a sum will take, from a few measured numbers: latency and bandwidth of the link inside a node and of
// the one between nodes, the cost of adding, and, for sums that are no plan of messages, a straight line
// through two measured sizes.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

/// time = latency_s + bytes * s_per_byte
struct Line {
  double latency_s = 0;
  double s_per_byte = 0;
  [[nodiscard]] double at(double bytes) const noexcept { return latency_s + bytes * s_per_byte; }
};

/// The line of least relative error through (bytes, seconds) points; neither number is below 0.
[[nodiscard]] Line fit_line(std::span<const std::pair<double, double>> points);

struct CostModel {
  Line inside;                        ///< a message between ranks of a node
  Line across;                        ///< between nodes; equal to `inside` on one node
  double add_s_per_byte = 0;          ///< of summing what arrived
  std::map<std::string, Line> whole;  ///< by schedule: sums that run no plan (shared, library)
};

/// Seconds that `schedule` takes for `bytes` of fp32: round by round, what the busiest rank sends and adds.
[[nodiscard]] double predicted_s(const CostModel& model, const std::string& name, const Schedule& schedule,
                                 const Topology& topology, std::int64_t bytes);

/// Seconds from the start of a backward of `backward_s` to the last sum's end, when gradients of
/// `total_bytes` complete evenly during it and go out in buckets: start_k = max(ready_k, end_{k-1}). `sum_s`
/// is what a sum of so many bytes takes.
template <class SumSeconds>
[[nodiscard]] double predicted_step_s(double backward_s, std::int64_t total_bytes, std::int64_t bucket_bytes,
                                      std::int64_t first_bucket_bytes, const SumSeconds& sum_s) {
  double end = 0;
  std::int64_t ready = 0;
  for (std::int64_t next = first_bucket_bytes; ready < total_bytes; next = bucket_bytes) {
    const std::int64_t bytes = next < total_bytes - ready ? next : total_bytes - ready;
    ready += bytes;
    const double complete = backward_s * static_cast<double>(ready) / static_cast<double>(total_bytes);
    end = (end > complete ? end : complete) + sum_s(bytes);
  }
  return end > backward_s ? end : backward_s;
}

}  // namespace lockstep::comm
