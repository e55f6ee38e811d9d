#include "comm/compress/bench_averaging.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/bench_pattern.h"
#include "comm/bench_sweep.h"
#include "comm/compress/compressor.h"
#include "comm/named.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stopwatch.h"

namespace lockstep::comm {
namespace {

/// Behind every warm-up that a compressor may have.
constexpr std::int64_t kFirstStep = 1000000;
/// Sums in another order differ by less of the largest value; the code of a grid that holds it is at least
/// 3e-5 of it.
constexpr double kRounding = 1e-5;

std::vector<float> host_copy(FlatSpan x) {
  std::vector<float> values(static_cast<std::size_t>(x.count));
  copy_to_host(x, values.data());
  return values;
}

/// Of one period, what all ranks' values have for a mean.
std::vector<double> true_means(int ranks) {
  std::vector<double> means;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<float> values = values_of(rank);
    means.resize(values.size());
    for (std::size_t i = 0; i < means.size(); ++i) means[i] += static_cast<double>(values[i]) / ranks;
  }
  return means;
}

/// A matrix of `count` elements, as square as the divisors of count allow.
SlotLayout matrix_of(std::int64_t count) {
  auto rows = static_cast<std::int64_t>(std::sqrt(static_cast<double>(count)));
  while (count % rows != 0) --rows;
  return SlotLayout({{"array", {rows, count / rows}}});
}

/// A compressor, or none, at one size; and what its turns took.
struct Contestant {
  std::unique_ptr<Compressor> compressor;
  std::unique_ptr<Recording> recorded;
  AveragingRow row;
  std::vector<double> times, encodes, decodes;
};

/// All compressors over one schedule.
class Bench {
 public:
  Bench(World& world, const AveragingBench& options, const BenchSchedule& schedule)
      : options_(options),
        schedule_(schedule.name),
        ranks_(world.size()),
        control_(make_collectives(world.transport(options.common.deadline_s),
                                  schedules().create("recursive_doubling", Options()))),
        collectives_(
            make_collectives(transport_of(world, options.common, *schedule.schedule), schedule.schedule)),
        stream_(make_stream(options.common.device, {.name = "bench"})),
        stopwatch_(make_stopwatch(options.common.device)),
        verdict_(std::make_shared<FlatArray>(make_array(options.common.device, Dtype::i32, 1))),
        nonfinite_(make_array(options.common.device, Dtype::i64, 1)),
        own_(values_of(world.rank())),
        means_(true_means(world.size())) {
    const std::int32_t accepted = 1;  // every step counts
    copy_from_host(&accepted, verdict_->span);
    const auto bytes = static_cast<std::size_t>(options.common.max_bytes) + kSlotAlignment * sizeof(float);
    if (options.common.lent_memory) memory_ = collectives_->shared_memory(bytes);
    if (memory_.data() == nullptr) memory_ = allocate(options.common.device, bytes);
  }

  std::vector<AveragingRow> rows_of(std::int64_t bytes) {
    resize(std::max<std::int64_t>(1, bytes / static_cast<std::int64_t>(sizeof(float))));
    std::vector<Contestant> contestants;
    contestants.push_back(contestant("none"));
    for (const std::string& name : options_.compressors) {
      if (name != "none") contestants.push_back(contestant(name));
    }
    for (Contestant& each : contestants) judge(each);
    for (int i = -options_.common.warmup; i < options_.common.iterations; ++i) {
      for (Contestant& each : contestants) measure(each, i < 0);
    }
    std::vector<AveragingRow> rows;
    for (Contestant& each : contestants) {
      AveragingRow row = finished(each);
      const AveragingRow& exact = rows.empty() ? row : rows.front();
      row.speedup = exact.median_s / row.median_s;
      if (row.wire_bytes > 0)
        row.ratio = static_cast<double>(exact.wire_bytes) / static_cast<double>(row.wire_bytes);
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  void resize(std::int64_t count) {
    layout_ = matrix_of(count);
    array_ = memory_.view(Dtype::f32, layout_.stored_count());
    scratch_ = make_array(options_.common.device, Dtype::f32, 2 * layout_.stored_count());
    given_.resize(static_cast<std::size_t>(count));
    fill_with_values(flat(std::span(given_)), own_);
  }

  Contestant contestant(const std::string& text) {
    Contestant made{.row = {.bytes = count() * static_cast<std::int64_t>(sizeof(float)),
                            .count = count(),
                            .schedule = schedule_,
                            .compressor = text}};
    if (text == "none") return made;
    const auto [name, settings] = part_called(compressors(), text);
    made.compressor = compressors().create(name, settings,
                                           {.group = make_group(0, {&layout_.slots().front()}),
                                            .rank = collectives_->rank(),
                                            .ranks = ranks_,
                                            .device = options_.common.device,
                                            .seed = 1,
                                            .verdict = verdict_,
                                            .mapped = collectives_->mapped_memory()});
    return made;
  }

  [[nodiscard]] std::int64_t count() const { return layout_.slots().front().stored_count; }
  [[nodiscard]] FlatSpan data() const { return array_.part(0, count()); }

  /// This rank's values become the sum over ranks, or what came back for it.
  void exchange(Contestant& each) {
    if (each.compressor == nullptr) return collectives_->sum(data(), *stream_);
    const StepNumbers numbers{.step = kFirstStep + step_++, .scale = 1.0f / static_cast<float>(ranks_)};
    each.compressor->exchange(array_, scratch_.span, numbers, nonfinite_.span, *collectives_, *stream_);
  }

  /// On a GPU several in a row, as exact sums are timed.
  [[nodiscard]] int times_in_a_row() const {
    return options_.common.device.kind == DeviceKind::cpu ? 1 : in_a_row(data());
  }
  void exchange_in_a_row(Contestant& each) {
    for (int i = 0; i < times_in_a_row(); ++i) exchange(each);
  }

  void measure(Contestant& each, bool warmup) {
    copy_from_host(given_.data(), data());
    record(each);
    const double time_s = seconds_of(*collectives_, *stopwatch_, *stream_, [&] {
      if (each.recorded != nullptr)
        each.recorded->run(*stream_);
      else
        exchange_in_a_row(each);
    });
    if (warmup) return;
    each.times.push_back(time_s / times_in_a_row());
    const PhaseTimes phases = phases_of(each);
    each.encodes.push_back(phases.encode_s);
    each.decodes.push_back(phases.decode_s);
  }

  /// As training records its steps, where it can.
  void record(Contestant& each) {
    const bool plain = each.compressor == nullptr || each.compressor->plain();
    if (each.recorded || !plain || !can_record(options_.common.device) || !collectives_->capturable()) return;
    each.recorded = record_work(*stream_, [&] { exchange_in_a_row(each); });
  }

  /// Of the exchange just timed; on a GPU of another one, for marks would hold the first up.
  PhaseTimes phases_of(Contestant& each) {
    if (each.compressor == nullptr) return {};
    if (options_.common.device.kind != DeviceKind::cpu) {
      each.compressor->take_times(true);
      exchange(each);
      each.compressor->take_times(false);
      stream_->synchronize();
    }
    return each.compressor->times();
  }

  /// The first exchange: its bytes, its error, and whether it is the mean of what was sent.
  void judge(Contestant& each) {
    copy_from_host(given_.data(), data());
    const std::int64_t before = collectives_->traffic().bytes;
    exchange(each);
    stream_->synchronize();
    const auto sent = static_cast<double>(collectives_->traffic().bytes - before);
    each.row.wire_bytes = static_cast<std::int64_t>(control_.maximum(sent));
    const std::vector<float> came = host_copy(data());
    compare(came, each.row);
    if (each.compressor && !each.compressor->conserves()) return;
    each.row.wrong = count_wrong(came, sum_of_sent(each.compressor.get()));
  }

  void compare(const std::vector<float>& came, AveragingRow& row) const {
    double product = 0, truth_square = 0, came_square = 0, error = 0;
    for (std::size_t i = 0; i < came.size(); ++i) {
      const double truth = means_[i % means_.size()], mean = static_cast<double>(came[i]) / ranks_;
      product += truth * mean;
      truth_square += truth * truth;
      came_square += mean * mean;
      error += (mean - truth) * (mean - truth);
    }
    row.relative_error = std::sqrt(error / truth_square);
    row.cosine = came_square > 0 ? product / std::sqrt(truth_square * came_square) : 0;
  }

  /// Over ranks: the values, less what this rank's residual and the owner's keep of them. Collective.
  std::vector<float> sum_of_sent(const Compressor* compressor) {
    std::vector<float> sent = given_;
    if (compressor != nullptr) {
      const std::vector<float> residual = host_copy(compressor->latest_residual());
      for (std::size_t i = 0; i < sent.size(); ++i) sent[i] -= residual[i];
      const std::vector<float> owed = host_copy(compressor->owner_residual());
      const auto first = static_cast<std::size_t>(compressor->owner_first());
      for (std::size_t i = 0; i < owed.size() && first + i < sent.size(); ++i)
        sent[first + i] -= owed[i] * static_cast<float>(ranks_);
    }
    copy_from_host(sent.data(), data());
    collectives_->sum(data(), *stream_);
    stream_->synchronize();
    return host_copy(data());
  }

  std::int64_t count_wrong(const std::vector<float>& came, const std::vector<float>& expected) {
    double largest = 0;
    for (const float x : given_) largest = std::max(largest, std::abs(static_cast<double>(x)));
    const double allowed = kRounding * ranks_ * control_.maximum(largest);
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < came.size(); ++i)
      wrong += !(std::abs(static_cast<double>(came[i]) - static_cast<double>(expected[i])) <= allowed);
    return static_cast<std::int64_t>(control_.sum(static_cast<double>(wrong)));
  }

  AveragingRow finished(Contestant& each) {
    for (double& time_s : each.times) time_s = control_.maximum(time_s);
    const TimeSummary time = summary_of(each.times);
    AveragingRow row = each.row;
    row.median_s = time.median_s;
    row.min_s = time.min_s;
    row.spread = time.spread;
    row.algbw = static_cast<double>(row.bytes) / row.median_s;
    row.encode_s = control_.maximum(summary_of(each.encodes).median_s);
    row.decode_s = control_.maximum(summary_of(each.decodes).median_s);
    return row;
  }

  const AveragingBench& options_;
  std::string schedule_;
  int ranks_;
  Control control_;
  std::unique_ptr<Collectives> collectives_;
  Memory memory_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Stopwatch> stopwatch_;
  Remembered::Verdict verdict_;
  FlatArray nonfinite_, scratch_;
  std::vector<float> own_, given_;  ///< one period, and the array's values
  std::vector<double> means_;
  SlotLayout layout_;
  FlatSpan array_;  ///< with the gap behind the values
  std::int64_t step_ = 0;
};

void check(const AveragingBench& options) {
  check_sweep(options.common);
  if (options.common.dtype != Dtype::f32)
    throw Error(Fault::config,
                "compressors do not average arrays of " + std::string(name_of(options.common.dtype)),
                "use f32");
  for (const std::string& text : options.compressors) {
    if (part_called(compressors(), text).first == "auto")
      throw Error(Fault::config, "compressor 'auto' chooses one of the others", "name those to measure");
  }
}

}  // namespace

std::vector<AveragingRow> bench_averaging(World& world, const AveragingBench& options) {
  check(options);
  std::vector<AveragingRow> rows;
  for (const BenchSchedule& schedule : options.common.schedules) {
    Bench bench(world, options, schedule);
    for (const std::int64_t bytes : sizes_of(options.common)) {
      for (AveragingRow& row : bench.rows_of(bytes)) rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace lockstep::comm
