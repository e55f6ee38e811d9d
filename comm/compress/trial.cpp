#include "comm/compress/trial.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "core/memory.h"
#include "core/random.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

/// Compression must win this much, or rounding is not worth it.
constexpr double kWorthwhile = 0.9;

void fill(FlatSpan values, std::int64_t seed) {
  const RandomSource source(static_cast<std::uint64_t>(seed), "compression trial", 0);
  std::vector<float> host(static_cast<std::size_t>(values.count));
  for (std::size_t i = 0; i < host.size(); ++i) host[i] = i < 4096 ? source.normal(i) : host[i - 4096];
  copy_from_host(host.data(), values);
}

Trial try_one(const std::string& name, const SlotLayout& layout, Collectives& collectives, Control& control,
              ExchangeOptions options) {
  options.compression.name = name;
  options.compression.exact_steps = 0;  // what is timed is compressed
  if (name == "none") options.compression.rules.clear();
  const FlatArray gradients = make_array(options.device, Dtype::f32, layout.stored_count());
  const auto compute = make_stream(options.device, {.name = "trial"});
  const auto exchange = make_exchange(layout, collectives, options);
  std::array<double, 3> times{};
  for (int round = -1; round < static_cast<int>(times.size()); ++round) {
    fill(gradients.span, collectives.rank());
    control.barrier();
    const auto start = Clock::now();
    exchange->begin(gradients.span, {.step = 0, .rate = 1, .scale = 1});
    exchange->complete(static_cast<int>(layout.slots().size()), compute->record());
    exchange->finish(*compute);
    compute->synchronize();
    const double seconds = control.maximum(std::chrono::duration<double>(Clock::now() - start).count());
    if (round >= 0) times[static_cast<std::size_t>(round)] = seconds;
  }
  std::sort(times.begin(), times.end());
  const auto wire = static_cast<double>(exchange->report().wire_bytes);
  return {name, times[1], static_cast<std::int64_t>(control.maximum(wire))};
}

}  // namespace

std::vector<Trial> try_compressors(const SlotLayout& layout, Collectives& collectives, Control& control,
                                   const ExchangeOptions& options, const std::vector<std::string>& names) {
  std::vector<Trial> trials{try_one("none", layout, collectives, control, options)};
  for (const std::string& name : names)
    trials.push_back(try_one(name, layout, collectives, control, options));
  return trials;
}

Verdict judge_trials(const std::vector<Trial>& trials) {
  const Trial& exact = trials.front();
  const auto best = std::min_element(trials.begin() + 1, trials.end(),
                                     [](const Trial& a, const Trial& b) { return a.seconds < b.seconds; });
  std::string measured;
  for (const Trial& trial : trials) {
    measured += fmt::format("{}{} {:.2f} ms for {:.2f} MB", measured.empty() ? "" : ", ", trial.compressor,
                            trial.seconds * 1e3, static_cast<double>(trial.wire_bytes) * 1e-6);
  }
  if (best == trials.end() || best->seconds > kWorthwhile * exact.seconds) {
    return {"none",
            "compression does not pay on this link: rounding costs what fewer bytes save (" + measured + ")"};
  }
  return {best->compressor,
          fmt::format("{} pays on this link: an exchange takes {:.2f} of the exact one's time ({})",
                      best->compressor, best->seconds / exact.seconds, measured)};
}

}  // namespace lockstep::comm
