#include "comm/bench_allreduce.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/bench_pattern.h"
#include "comm/bench_sweep.h"
#include "comm/collectives.h"
#include "comm/device_transport.h"
#include "comm/named.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stopwatch.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

/// The slowest rank's time of each iteration, and the wrong elements of all ranks.
struct Samples {
  std::vector<double> times_s;
  std::int64_t wrong = 0;
};

/// One schedule, or something beside it, on its own transport and stream.
class Bench {
 public:
  Bench(World& world, const AllreduceBench& options, const BenchSchedule& chosen)
      : Bench(world, options, chosen.name, chosen.schedule,
              {.lent = options.lent_memory && !chosen.own_memory}) {
    sum_ = [this](FlatSpan data) { collectives_->sum(data, *stream_); };
  }
  Bench(World& world, const AllreduceBench& options, const Contender& beside)
      : Bench(world, options, beside.name, schedules().create("recursive_doubling", Options()),
              {.sums = beside.sums}) {
    sum_ = [this, beside](FlatSpan data) {
      if (beside.enqueue) return beside.enqueue(data, *stream_);
      stream_->host([run = beside.run, data] { run(data); });
    };
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  /// A size begins.
  void resize(std::int64_t bytes) {
    const auto width = static_cast<std::int64_t>(size_of(options_.dtype));
    data_ = memory_.view(options_.dtype, std::max<std::int64_t>(1, bytes / width));
    recorded_.reset();
    samples_ = {};
    if (in_a_row(data_) > 1) make_values();
  }

  /// One turn of this size. `checked`: also look whether the sum is right, which takes a GPU's host far
  /// longer than the sum.
  void measure(bool warmup, bool checked) {
    const int times = in_a_row(data_);
    if (checked || times == 1) {
      fill();
      const double alone_s = timed(1);
      if (sums_) samples_.wrong += wrong();
      if (!warmup && times == 1) samples_.times_s.push_back(alone_s);
    }
    if (warmup || times == 1) return;
    vector::cast(values_.span, data_, *stream_);  // sums of sums would soon be infinite
    record(times);
    samples_.times_s.push_back(timed(times) / times);
  }

  [[nodiscard]] AllreduceRow row() { return summary(over_ranks(samples_)); }

 private:
  struct Kind {
    bool sums = true;
    bool lent = false;
  };
  Bench(World& world, const AllreduceBench& options, std::string name,
        const std::shared_ptr<const Schedule>& schedule, Kind kind)
      : options_(options),
        name_(std::move(name)),
        sums_(kind.sums),
        control_(make_collectives(world.transport(options.deadline_s),
                                  schedules().create("recursive_doubling", Options()))),
        collectives_(make_collectives(transport_of(world, options, *schedule), schedule)),
        stream_(make_stream(options.device, {.name = "bench"})),
        stopwatch_(make_stopwatch(options.device)),
        pattern_(world.rank(), world.size(), options.dtype) {
    const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(options.max_bytes, 8));
    if (kind.lent) memory_ = collectives_->shared_memory(bytes);
    if (memory_.data() == nullptr) memory_ = allocate(options.device, bytes);
  }

  void fill() {
    if (data_.device.kind == DeviceKind::cpu) return pattern_.fill(data_);
    const FlatArray host = make_array(Device{}, data_.dtype, data_.count);
    pattern_.fill(host.span);
    copy_from_host(host.span.data, data_);
  }
  /// What sums in a row begin with.
  void make_values() {
    const FlatArray host = make_array(Device{}, data_.dtype, data_.count);
    fill_with_values(host.span, values_of(collectives_->rank(), data_.count));
    values_ = make_array(data_.device, data_.dtype, data_.count);
    copy_from_host(host.span.data, values_.span);
  }
  [[nodiscard]] std::int64_t wrong() const {
    if (data_.device.kind == DeviceKind::cpu) return pattern_.count_wrong(data_);
    const FlatArray host = make_array(Device{}, data_.dtype, data_.count);
    copy_to_host(data_, host.span.data);
    return pattern_.count_wrong(host.span);
  }

  /// On a GPU sums are recorded once, as training records its steps: launching each would hide a short one.
  void record(int times) {
    if (recorded_ || !can_record(data_.device) || !collectives_->capturable()) return;
    recorded_ = record_work(*stream_, [&] { enqueue(times); });
  }
  void enqueue(int times) {
    for (int i = 0; i < times; ++i) sum_(data_);
  }

  double timed(int times) {
    return seconds_of(*collectives_, *stopwatch_, *stream_, [&] {
      if (recorded_ && times > 1)
        recorded_->run(*stream_);
      else
        enqueue(times);
    });
  }

  Samples over_ranks(Samples own) {
    for (double& time_s : own.times_s) time_s = control_.maximum(time_s);
    own.wrong = static_cast<std::int64_t>(control_.sum(static_cast<double>(own.wrong)));
    return own;
  }

  AllreduceRow summary(Samples samples) const {
    const TimeSummary time = summary_of(std::move(samples.times_s));
    AllreduceRow row{.bytes = static_cast<std::int64_t>(data_.bytes()),
                     .count = data_.count,
                     .dtype = options_.dtype,
                     .schedule = name_,
                     .median_s = time.median_s,
                     .min_s = time.min_s,
                     .spread = time.spread,
                     .wrong = samples.wrong};
    const double ranks = collectives_->size();
    row.algbw = static_cast<double>(row.bytes) / row.median_s;
    row.busbw = row.algbw * 2 * (ranks - 1) / ranks;
    return row;
  }

  const AllreduceBench& options_;
  std::string name_;
  bool sums_;
  Control control_;
  std::unique_ptr<Collectives> collectives_;
  Memory memory_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Stopwatch> stopwatch_;
  Pattern pattern_;
  FlatSpan data_;
  FlatArray values_;
  std::unique_ptr<Recording> recorded_;  ///< of this size: in_a_row() sums
  Samples samples_;
  std::function<void(FlatSpan)> sum_;
};

}  // namespace

std::vector<BenchSchedule> bench_schedules(const std::vector<std::string>& names) {
  std::vector<std::string> wanted = names;
  if (wanted.empty()) {
    for (const auto& row : schedules().rows()) {
      if (row.name != "auto") wanted.emplace_back(row.name);  // it is one of the others
    }
  }
  std::vector<BenchSchedule> chosen;
  chosen.reserve(wanted.size());
  for (const std::string& text : wanted) {
    if (named_part("allreduce", text).name == "auto") {
      throw Error(Fault::config, "'auto' chooses for a training: it is no schedule of its own to measure",
                  "name schedules, or none to measure all that it chooses from");
    }
    chosen.push_back({text, schedule_called(text)});
  }
  return chosen;
}

std::vector<Contender> contenders_of(World& world, const AllreduceBench& options) {
  if (options.device.kind == DeviceKind::cpu) {
    std::vector<Contender> all = world.contenders();
    all.push_back({"copy",
                   [other = std::make_shared<Memory>()](FlatSpan data) {
                     if (other->bytes() < data.bytes()) *other = allocate(Device{}, data.bytes());
                     std::memcpy(other->data(), data.data, data.bytes());
                   },
                   false});
    return all;
  }
  if (world.size() == 1) return {};
  const std::shared_ptr<NeighbourCopies> copies =
      make_neighbour_copies(world, {options.device, options.deadline_s}, options.max_bytes);
  return {{"copy to the next", nullptr, false, [copies](FlatSpan data, Stream& stream) {
             copies->enqueue(static_cast<std::int64_t>(data.bytes()), stream);
           }}};
}

std::vector<AllreduceRow> bench_allreduce(World& world, const AllreduceBench& options) {
  check_sweep(options);
  Pattern::check(world.size(), options.dtype);
  std::vector<std::unique_ptr<Bench>> benches;
  for (const BenchSchedule& schedule : options.schedules) {
    benches.push_back(std::make_unique<Bench>(world, options, schedule));
  }
  for (const Contender& beside : options.beside) {
    benches.push_back(std::make_unique<Bench>(world, options, beside));
  }
  std::vector<AllreduceRow> rows;
  for (const std::int64_t bytes : sizes_of(options)) {
    for (auto& bench : benches) bench->resize(bytes);
    for (int i = -options.warmup; i < options.iterations; ++i) {
      const bool checked = options.device.kind == DeviceKind::cpu || i == -options.warmup;
      for (auto& bench : benches) bench->measure(i < 0, checked);
    }
    for (auto& bench : benches) rows.push_back(bench->row());
  }
  return rows;
}

}  // namespace lockstep::comm
