#include "comm/compress/bench_compress.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "comm/bench_sweep.h"
#include "comm/compress/compressor.h"
#include "comm/exchange.h"
#include "comm/named.h"
#include "core/error.h"
#include "core/random.h"
#include "core/setting_value.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

void add_layer(std::vector<SlotSpec>& specs, const std::string& name, Shape weight) {
  const std::int64_t outputs = weight[0];
  specs.push_back({name + ".weight", std::move(weight)});
  specs.push_back({name + ".bias", {outputs}});
}

/// As backward completes them: the last layer first.
SlotLayout vgg16() {
  std::vector<SlotSpec> specs;
  const std::int64_t widths[] = {3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512};
  add_layer(specs, "classifier", {10, 512});
  for (int i = 13; i > 0; --i)
    add_layer(specs, "features." + std::to_string(i), {widths[i], widths[i - 1], 3, 3});
  return SlotLayout(std::move(specs));
}

SlotLayout gpt() {
  constexpr std::int64_t kWidth = 384;
  std::vector<SlotSpec> specs;
  for (int layer = 5; layer >= 0; --layer) {
    const std::string block = "h." + std::to_string(layer);
    add_layer(specs, block + ".mlp.c_proj", {kWidth, 4 * kWidth});
    add_layer(specs, block + ".mlp.c_fc", {4 * kWidth, kWidth});
    add_layer(specs, block + ".attn.c_proj", {kWidth, kWidth});
    add_layer(specs, block + ".attn.c_attn", {3 * kWidth, kWidth});
  }
  specs.push_back({"wpe.weight", {256, kWidth}});
  specs.push_back({"wte.weight", {65, kWidth}});
  return SlotLayout(std::move(specs));
}

/// One compressor over one schedule.
class Bench {
 public:
  Bench(World& world, const CompressBench& options, const BenchSchedule& schedule,
        const std::string& compressor)
      : options_(options),
        ranks_(world.size()),
        collectives_(make_collectives(
            transport_of(
                world,
                {.deadline_s = options.deadline_s, .device = options.device, .transport = options.transport},
                *schedule.schedule),
            schedule.schedule)),
        control_(make_collectives(world.transport(options.deadline_s),
                                  schedules().create("recursive_doubling", Options()))),
        layout_(gradient_layout(options.gradients)),
        gradients_(make_array(options.device, Dtype::f32, layout_.stored_count())),
        given_(make_array(options.device, Dtype::f32, layout_.stored_count())),
        skip_(make_array(options.device, Dtype::i32, 1)),
        compute_(make_stream(options.device, {.name = "bench"})) {
    ExchangeOptions exchange{.bucket_bytes = options.bucket_bytes, .device = options.device};
    const auto [name, settings] = part_called(compressors(), compressor);
    exchange.compression.name = name;
    exchange.compression.momentum = 0.9f;
    exchange.compression.settings = [part = settings](std::string_view) { return part; };
    exchange_ = make_exchange(layout_, *collectives_, exchange);
    const RandomSource source(1, "compress bench", static_cast<std::uint64_t>(world.rank()));
    std::vector<float> x(static_cast<std::size_t>(layout_.stored_count()));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i < 100003 ? source.normal(i) : x[i - 100003];
    copy_from_host(x.data(), given_.span);
  }

  CompressRow row() {
    CompressRow row{.dense_bytes = layout_.canonical_count() * 4};
    std::vector<double> times;
    for (int i = -options_.warmup; i < options_.iterations; ++i) {
      const double slowest = control_.maximum(step(i + options_.warmup));
      if (i >= 0) times.push_back(slowest);
    }
    const TimeSummary time = summary_of(std::move(times));
    row.median_s = time.median_s;
    row.min_s = time.min_s;
    row.spread = time.spread;
    const ExchangeReport report = exchange_->report();
    row.wire_bytes = static_cast<std::int64_t>(control_.maximum(static_cast<double>(report.wire_bytes)));
    for (const BucketReport& bucket : report.compressed) {
      row.encode_s += bucket.times.encode_s;
      row.wire_s += bucket.times.wire_s;
      row.decode_s += bucket.times.decode_s;
    }
    return row;
  }

 private:
  double step(int number) {
    copy(given_.span, gradients_.span, *compute_);
    compute_->synchronize();
    control_.barrier();
    const auto start = Clock::now();
    // 10^6: behind every warm-up that a compressor may have.
    exchange_->begin(gradients_.span,
                     {.step = 1000000 + number, .rate = 0.1f, .scale = 1.0f / static_cast<float>(ranks_)});
    exchange_->complete(static_cast<int>(layout_.slots().size()), compute_->record());
    exchange_->finish(*compute_);
    exchange_->settle(static_cast<const std::int32_t*>(skip_.span.data), *compute_);
    compute_->synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  const CompressBench& options_;
  int ranks_;
  std::unique_ptr<Collectives> collectives_;
  Control control_;
  SlotLayout layout_;
  FlatArray gradients_, given_;
  FlatArray skip_;  ///< 0: every step counts
  std::unique_ptr<Stream> compute_;
  std::unique_ptr<GradientExchange> exchange_;
};

std::vector<std::string> wanted(const CompressBench& options) {
  std::vector<std::string> names{"none"};
  if (!options.compressors.empty()) {
    for (const std::string& each : options.compressors) {
      if (each != "none") names.push_back(each);
    }
    return names;
  }
  for (const auto& row : compressors().rows()) {
    if (row.name != "none" && row.name != "auto") names.emplace_back(row.name);
  }
  return names;
}

}  // namespace

SlotLayout gradient_layout(const std::string& name) {
  if (name == "vgg16") return vgg16();
  if (name == "gpt") return gpt();
  constexpr double kMost = 1e15;
  const double factor = name.ends_with('M') ? 1e6 : name.ends_with('K') ? 1e3 : 1;
  const double number = read_real(name.substr(0, name.size() - (factor > 1 ? 1 : 0))).value_or(0);
  if (number * factor < 1 || number * factor > kMost) {
    throw Error(Fault::config, "no gradients are called '" + name + "'",
                "use vgg16, gpt, or a number of elements such as 16M");
  }
  const auto side = std::max<std::int64_t>(1, std::llround(std::sqrt(number * factor)));
  return SlotLayout({{"matrix.weight", {side, side}}});
}

void check_bench(const CompressBench& options) {
  if (options.iterations < 1 || options.warmup < 0)
    throw Error(Fault::config, std::to_string(options.iterations) + " iterations measure nothing",
                "give at least one");
  static_cast<void>(gradient_layout(options.gradients));
  for (const std::string& compressor : wanted(options))
    static_cast<void>(part_called(compressors(), compressor));
}

std::vector<CompressRow> bench_compress(World& world, const CompressBench& options) {
  check_bench(options);
  std::vector<CompressRow> rows;
  for (const BenchSchedule& schedule : options.schedules) {
    double exact_s = 0;
    for (const std::string& compressor : wanted(options)) {
      CompressRow row = Bench(world, options, schedule, compressor).row();
      row.compressor = compressor;
      row.schedule = schedule.name;
      if (compressor == "none") exact_s = row.median_s;
      row.speedup = exact_s / row.median_s;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace lockstep::comm
