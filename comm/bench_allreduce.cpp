#include "comm/bench_allreduce.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "comm/bench_pattern.h"
#include "comm/collectives.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

/// Sums shorter than this are timed many in a row: one would be lost in the barrier before it.
constexpr std::int64_t kShortBytes = 64 << 10;
constexpr int kInARow = 20;

/// The slowest rank's time of each iteration, and the wrong elements of all ranks.
struct Samples {
  std::vector<double> times_s;
  std::int64_t wrong = 0;
};

/// One schedule, or something beside it, on its own transport and stream.
class Bench {
 public:
  Bench(World& world, const AllreduceBench& options, const BenchSchedule& chosen)
      : Bench(world, options, chosen.name, chosen.schedule, true) {
    sum_ = [this](FlatSpan data) { collectives_->sum(data, *stream_); };
  }
  Bench(World& world, const AllreduceBench& options, const Contender& beside)
      : Bench(world, options, beside.name, schedules().create("recursive_doubling", Options()), beside.sums) {
    sum_ = [this, run = beside.run](FlatSpan data) { stream_->host([run, data] { run(data); }); };
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  /// A size begins.
  void resize(std::int64_t bytes) {
    const auto width = static_cast<std::int64_t>(size_of(options_.dtype));
    data_ = memory_.view(options_.dtype, std::max<std::int64_t>(1, bytes / width));
    samples_ = {};
  }

  /// One turn of this size.
  void measure(bool warmup) {
    const int times = static_cast<std::int64_t>(data_.bytes()) < kShortBytes ? kInARow : 1;
    pattern_.fill(data_);
    const double alone_s = timed(1);
    if (sums_) samples_.wrong += pattern_.count_wrong(data_);
    if (warmup) return;
    if (times == 1) return samples_.times_s.push_back(alone_s);
    vector::fill(data_, 0, *stream_);  // sums of sums would soon be infinite
    samples_.times_s.push_back(timed(times) / times);
  }

  [[nodiscard]] AllreduceRow row() { return summary(over_ranks(samples_)); }

 private:
  Bench(World& world, const AllreduceBench& options, std::string name,
        std::shared_ptr<const Schedule> schedule, bool sums)
      : options_(options),
        name_(std::move(name)),
        sums_(sums),
        collectives_(make_collectives(world.transport(options.deadline_s), std::move(schedule))),
        stream_(make_stream(Device{}, {.name = "bench"})),
        pattern_(world.rank(), world.size(), options.dtype) {
    const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(options.max_bytes, 8));
    if (options.lent_memory) memory_ = collectives_->shared_memory(bytes);
    if (memory_.data() == nullptr) memory_ = allocate(Device{}, bytes);
  }

  double timed(int times) {
    Clock::time_point start;
    Clock::time_point end;
    collectives_->barrier(*stream_);
    stream_->host([&] { start = Clock::now(); });
    for (int i = 0; i < times; ++i) sum_(data_);
    stream_->host([&] { end = Clock::now(); });
    stream_->synchronize();
    return std::chrono::duration<double>(end - start).count();
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

  AllreduceRow summary(Samples samples) const {
    auto& times = samples.times_s;
    std::sort(times.begin(), times.end());
    const auto quantile = [&](double part) {
      return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1) + 0.5)];
    };
    const double median = times.size() % 2 == 1 ? times[times.size() / 2]
                                                : (times[times.size() / 2 - 1] + times[times.size() / 2]) / 2;
    AllreduceRow row{.bytes = static_cast<std::int64_t>(data_.bytes()),
                     .count = data_.count,
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
  bool sums_;
  std::unique_ptr<Collectives> collectives_;
  std::unique_ptr<Stream> stream_;
  Pattern pattern_;
  Memory memory_;
  FlatSpan data_;
  Samples samples_;
  std::function<void(FlatSpan)> sum_;
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
  Pattern::check(world.size(), options.dtype);
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

std::vector<Contender> contenders_of(World& world) {
  std::vector<Contender> all = world.contenders();
  all.push_back({"copy",
                 [other = std::make_shared<Memory>()](FlatSpan data) {
                   if (other->bytes() < data.bytes()) *other = allocate(Device{}, data.bytes());
                   std::memcpy(other->data(), data.data, data.bytes());
                 },
                 false});
  return all;
}

std::vector<AllreduceRow> bench_allreduce(World& world, const AllreduceBench& options) {
  check(world, options);
  std::vector<std::unique_ptr<Bench>> benches;
  for (const BenchSchedule& schedule : options.schedules) {
    benches.push_back(std::make_unique<Bench>(world, options, schedule));
  }
  for (const Contender& beside : options.beside) {
    benches.push_back(std::make_unique<Bench>(world, options, beside));
  }
  std::vector<AllreduceRow> rows;
  for (std::int64_t bytes = options.min_bytes; bytes <= options.max_bytes; bytes *= options.factor) {
    for (auto& bench : benches) bench->resize(bytes);
    for (int i = -options.warmup; i < options.iterations; ++i) {
      for (auto& bench : benches) bench->measure(i < 0);
    }
    for (auto& bench : benches) rows.push_back(bench->row());
  }
  return rows;
}

}  // namespace lockstep::comm
