#include "comm/bench_sweep.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "comm/device_transport.h"
#include "comm/named.h"
#include "core/error.h"
#include "core/hold.h"

namespace lockstep::comm {

void check_sweep(const AllreduceBench& options) {
  if (options.min_bytes < 1 || options.max_bytes < options.min_bytes || options.factor < 2) {
    throw Error(Fault::config,
                fmt::format("sizes from {} to {} bytes by factor {} are no sweep", options.min_bytes,
                            options.max_bytes, options.factor),
                "give 1 <= min <= max and a factor of at least 2");
  }
  if (options.iterations < 1 || options.warmup < 0) {
    throw Error(Fault::config, fmt::format("{} iterations measure nothing", options.iterations),
                "give at least one");
  }
}

std::vector<std::int64_t> sizes_of(const AllreduceBench& options) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t bytes = options.min_bytes;; bytes *= options.factor) {
    sizes.push_back(bytes);
    if (bytes > options.max_bytes / options.factor) return sizes;
  }
}

std::unique_ptr<Transport> transport_of(World& world, const AllreduceBench& options,
                                        const Schedule& schedule) {
  const auto [name, settings] = part_called(transports(), options.transport);
  return connect(name, settings, schedule, world, {options.device, options.deadline_s});
}

int in_a_row(const FlatSpan& data) {
  constexpr std::size_t kShortBytes = 64 << 10, kShortOnGpu = 1 << 20;
  if (data.device.kind == DeviceKind::cpu) return data.bytes() < kShortBytes ? 20 : 1;
  return data.bytes() <= kShortOnGpu ? 32 : 8;
}

double seconds_of(Collectives& collectives, Stopwatch& stopwatch, Stream& stream,
                  const std::function<void()>& enqueue) {
  {
    const Hold hold(stream);
    collectives.barrier(stream);
    collectives.barrier(stream);
    stopwatch.start(stream);
    enqueue();
    stopwatch.stop(stream);
    collectives.barrier(stream);
  }
  stream.synchronize();
  return stopwatch.seconds();
}

TimeSummary summary_of(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const std::size_t middle = times.size() / 2;
  const auto quantile = [&](double part) {
    return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1) + 0.5)];
  };
  TimeSummary summary{.min_s = times.front()};
  summary.median_s = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  summary.spread = (quantile(0.75) - quantile(0.25)) / summary.median_s;
  return summary;
}

}  // namespace lockstep::comm
