#include "comm/bench_allreduce.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "comm/collectives.h"
#include "core/error.h"
#include "core/memory.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

/// Rank r's element i is (i + r) mod period: every sum of p of them is an exact integer in `dtype`, in any
/// order.
struct Pattern {
  std::vector<double> sums;  // of element i at i mod period
  int rank = 0;

  Pattern(int rank_, int ranks, std::int64_t period) : sums(static_cast<std::size_t>(period)), rank(rank_) {
    for (std::int64_t i = 0; i < period; ++i) {
      for (int each = 0; each < ranks; ++each)
        sums[static_cast<std::size_t>(i)] += static_cast<double>((i + each) % period);
    }
  }
  [[nodiscard]] std::size_t period() const noexcept { return sums.size(); }
};

/// A prime, so that shifted chunks show; small where bf16 holds integers up to 256 only.
std::int64_t period_of(Dtype dtype) { return dtype == Dtype::bf16 ? 3 : 251; }

/// Calls body with a null pointer of the element type.
template <class Body>
void with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::f32:
      return body(static_cast<float*>(nullptr));
    case Dtype::f64:
      return body(static_cast<double*>(nullptr));
    case Dtype::bf16:
      return body(static_cast<Bf16*>(nullptr));
    case Dtype::i32:
      return body(static_cast<std::int32_t*>(nullptr));
    default:
      throw Error(Fault::config, fmt::format("bench allreduce cannot use type {}", name_of(dtype)),
                  "use f32, f64, bf16 or i32");
  }
}

double number(Bf16 x) { return static_cast<double>(static_cast<float>(x)); }
template <class T>
double number(T x) {
  return static_cast<double>(x);
}

void fill(FlatSpan data, const Pattern& pattern) {
  with_type(data.dtype, [&]<class T>(T*) {
    std::size_t next = static_cast<std::size_t>(pattern.rank) % pattern.period();
    for (T& x : data.as<T>()) {
      x = static_cast<T>(static_cast<float>(next));
      if (++next == pattern.period()) next = 0;
    }
  });
}

std::int64_t count_wrong(FlatSpan data, const Pattern& pattern) {
  std::int64_t wrong = 0;
  with_type(data.dtype, [&]<class T>(T*) {
    std::size_t next = 0;
    for (const T x : data.as<T>()) {
      wrong += number(x) != pattern.sums[next];
      if (++next == pattern.period()) next = 0;
    }
  });
  return wrong;
}

/// The slowest rank's time of each iteration, and the wrong elements of all ranks.
struct Samples {
  std::vector<double> times_s;
  std::int64_t wrong = 0;
};

/// One schedule on its own transport and stream.
class Bench {
 public:
  Bench(World& world, const AllreduceBench& options, const BenchSchedule& chosen)
      : options_(options),
        name_(chosen.name),
        collectives_(make_collectives(world.transport(options.deadline_s), chosen.schedule)),
        stream_(make_stream(Device{}, {.name = "bench"})),
        pattern_(world.rank(), world.size(), period_of(options.dtype)) {}

  AllreduceRow row(std::int64_t bytes) {
    const auto width = static_cast<std::int64_t>(size_of(options_.dtype));
    const std::int64_t count = std::max<std::int64_t>(1, bytes / width);
    const FlatArray data = make_array(Device{}, options_.dtype, count);
    Samples samples;
    for (int i = -options_.warmup; i < options_.iterations; ++i) {
      const double time_s = timed(data.span);
      samples.wrong += count_wrong(data.span, pattern_);
      if (i >= 0) samples.times_s.push_back(time_s);
    }
    return summary(count, over_ranks(samples));
  }

 private:
  double timed(FlatSpan data) {
    fill(data, pattern_);
    collectives_->barrier(*stream_);
    stream_->synchronize();
    const auto start = Clock::now();
    collectives_->sum(data, *stream_);
    stream_->synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  Samples over_ranks(const Samples& own) {
    std::vector<double> mine = own.times_s;
    mine.push_back(static_cast<double>(own.wrong));
    std::vector<double> all(mine.size() * static_cast<std::size_t>(collectives_->size()));
    collectives_->gather(flat(std::span(mine)), flat(std::span(all)), *stream_);
    stream_->synchronize();
    Samples whole{std::vector<double>(own.times_s.size())};
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t item = i % mine.size();
      if (item == own.times_s.size()) {
        whole.wrong += static_cast<std::int64_t>(all[i]);
      } else {
        whole.times_s[item] = std::max(whole.times_s[item], all[i]);
      }
    }
    return whole;
  }

  AllreduceRow summary(std::int64_t count, Samples samples) const {
    auto& times = samples.times_s;
    std::sort(times.begin(), times.end());
    const auto quantile = [&](double part) {
      return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1) + 0.5)];
    };
    const double median = times.size() % 2 == 1 ? times[times.size() / 2]
                                                : (times[times.size() / 2 - 1] + times[times.size() / 2]) / 2;
    AllreduceRow row{.bytes = count * static_cast<std::int64_t>(size_of(options_.dtype)),
                     .count = count,
                     .dtype = options_.dtype,
                     .schedule = name_,
                     .median_s = median,
                     .min_s = times.front(),
                     .spread = (quantile(0.75) - quantile(0.25)) / median,
                     .wrong = samples.wrong};
    const double ranks = collectives_->size();
    row.algbw = static_cast<double>(row.bytes) / median;
    row.busbw = row.algbw * 2 * (ranks - 1) / ranks;
    return row;
  }

  const AllreduceBench& options_;
  std::string name_;
  std::unique_ptr<Collectives> collectives_;
  std::unique_ptr<Stream> stream_;
  Pattern pattern_;
};

void check(const World& world, const AllreduceBench& options) {
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
  with_type(options.dtype, [](auto*) {});
  // The largest sum, ranks * (period - 1), must be an exact integer of the type.
  const std::int64_t exact = options.dtype == Dtype::bf16 ? 256 : 1 << 24;
  if (world.size() * (period_of(options.dtype) - 1) > exact) {
    throw Error(Fault::config,
                fmt::format("sums over {} ranks are not exact in {}", world.size(), name_of(options.dtype)),
                "use f32");
  }
}

/// "double_tree:segment=4096,other=1" -> name and settings.
std::pair<std::string, std::vector<std::pair<std::string, std::string>>> name_and_settings(
    const std::string& text) {
  const auto colon = text.find(':');
  std::pair<std::string, std::vector<std::pair<std::string, std::string>>> parts{text.substr(0, colon), {}};
  for (std::size_t at = colon; at != std::string::npos;) {
    const auto end = text.find(',', at + 1);
    const std::string item = text.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    const auto equal = item.find('=');
    if (equal == std::string::npos) {
      throw Error(Fault::config, fmt::format("schedule '{}' has a setting without a value", text),
                  "write name:key=value");
    }
    parts.second.emplace_back(item.substr(0, equal), item.substr(equal + 1));
    at = end;
  }
  return parts;
}

}  // namespace

std::vector<BenchSchedule> bench_schedules(const std::vector<std::string>& names) {
  std::vector<std::string> wanted = names;
  if (wanted.empty()) {
    for (const auto& row : schedules().rows()) wanted.emplace_back(row.name);
  }
  std::vector<BenchSchedule> chosen;
  for (const std::string& text : wanted) {
    const auto [name, settings] = name_and_settings(text);
    const auto& row = schedules().row(name);
    chosen.push_back({text, schedules().create(name, Options::of(row.settings, settings))});
  }
  return chosen;
}

std::vector<AllreduceRow> bench_allreduce(World& world, const AllreduceBench& options) {
  check(world, options);
  std::vector<std::unique_ptr<Bench>> benches;
  for (const BenchSchedule& schedule : options.schedules) {
    benches.push_back(std::make_unique<Bench>(world, options, schedule));
  }
  std::vector<AllreduceRow> rows;
  for (std::int64_t bytes = options.min_bytes; bytes <= options.max_bytes; bytes *= options.factor) {
    for (auto& bench : benches) rows.push_back(bench->row(bytes));
  }
  return rows;
}

}  // namespace lockstep::comm
