#include "models/bench_step.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "models/bench_rig.h"

namespace lockstep::models {
namespace {

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

/// Samples over rounds of the fastest of some repetitions.
struct Series {
  std::vector<double> rounds;
  template <class Timed>
  void round(int repetitions, const Timed& timed) {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repetitions; ++i) best = std::min(best, timed());
    rounds.push_back(best);
  }
};

/// All kernels of one executor, forward and backward.
struct KernelSeries {
  std::vector<Series> forward, backward;
  double (Rig::*run)(int, bool) = &Rig::kernel;
  explicit KernelSeries(Rig& rig)
      : forward(static_cast<std::size_t>(rig.executor().kernels())), backward(forward.size()) {}
  void round(Rig& rig, int repetitions) {
    for (std::size_t k = 0; k < forward.size(); ++k) {
      const int number = static_cast<int>(k);
      forward[k].round(repetitions, [&] { return (rig.*run)(number, false); });
    }
    for (std::size_t k = forward.size(); k-- > 0;) {
      const int number = static_cast<int>(k);
      backward[k].round(repetitions, [&] { return (rig.*run)(number, true); });
    }
    rig.step();  // kernels that overwrite gradients get fresh ones for the next round
  }
  [[nodiscard]] double seconds(std::size_t k) const {
    return median(forward[k].rounds) + median(backward[k].rounds);
  }
  [[nodiscard]] double seconds_in(std::size_t round, std::size_t k) const {
    return forward[k].rounds[round] + backward[k].rounds[round];
  }
};

/// Whole steps: forward, backward and update.
struct StepSeries {
  Series forward, backward, update;
  std::vector<double> steps;
  void round(Rig& rig, int repetitions) {
    forward.round(repetitions, [&] { return rig.forward(); });
    backward.round(repetitions, [&] { return rig.forward(), rig.backward(); });
    update.round(repetitions, [&] { return rig.update(); });
    steps.push_back(forward.rounds.back() + backward.rounds.back() + update.rounds.back());
  }
  void report_to(StepBench& bench) const {
    bench.step_s = median(steps);
    bench.forward_s = median(forward.rounds);
    bench.backward_s = median(backward.rounds);
    bench.update_s = median(update.rounds);
    bench.step_min_s = *std::ranges::min_element(steps);
    bench.step_max_s = *std::ranges::max_element(steps);
  }
};

enum class Kind { convolution, product, norm, attention, other };

Kind kind_of(const std::string& op) {
  if (op == "conv2d" || op == "conv_transpose2d") return Kind::convolution;
  if (op == "linear" || op == "tied_linear") return Kind::product;
  if (op == "batch_norm" || op == "layer_norm") return Kind::norm;
  return op == "causal_attention" ? Kind::attention : Kind::other;
}

/// Kernels one operation each, so that each kind can be summed.
void measure_alone(StepBench& bench, const std::vector<NodeReport>& report, const KernelSeries& series,
                   const KernelSeries& products) {
  for (std::size_t k = 0; k < report.size(); ++k) {
    const Kind kind = kind_of(report[k].op);
    if (kind == Kind::convolution) bench.convolutions_s += series.seconds(k);
    if (kind == Kind::product) bench.products_s += series.seconds(k);
    if (kind == Kind::norm) bench.norms_s += series.seconds(k);
    if (kind == Kind::attention) bench.products_s += products.seconds(k);
  }
}

/// What StepBench::ratio says.
double median_ratio(const std::vector<double>& steps, const std::vector<NodeReport>& report,
                    const KernelSeries& series, const KernelSeries& products) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < steps.size(); ++round) {
    double alone = 0;
    for (std::size_t k = 0; k < report.size(); ++k) {
      const Kind kind = kind_of(report[k].op);
      if (kind == Kind::other) continue;
      alone += (kind == Kind::attention ? products : series).seconds_in(round, k);
    }
    ratios.push_back(steps[round] / alone);
  }
  return median(ratios);
}

/// The best rate of square matrix products.
double measure_peak(Backend& backend, const StepBenchOptions& options) {
  double peak = 0;
  for (std::int64_t size : {512, 1024}) {
    GraphBuilder builder(size);
    const int x = builder.linear(builder.input({size}, Dtype::f32), "left",
                                 {.out_features = size, .bias = false}, Init::normal(0.02F));
    builder.predict(builder.linear(x, "right", {.out_features = size, .bias = false}, Init::normal(0.02F)));
    builder.loss(MeanSquaredError{});
    const Graph graph = std::move(builder).finish();
    Rig rig(graph, backend, options, {.fuse = false, .reuse_memory = false});
    Series series;
    series.round(2 * options.repetitions + 2, [&] { return rig.kernel(1, false); });
    peak = std::max(peak, rig.executor().report()[1].work.forward_flops / series.rounds[0]);
  }
  return peak;
}

void check(const Graph& graph, const StepBenchOptions& options) {
  if (graph.loss() < 0)
    throw Error(Fault::config, "a training step needs a loss", "choose loss.name, or a task with labels");
  if (options.rounds < 1 || options.repetitions < 1)
    throw Error(Fault::config, "0 rounds measure nothing", "give at least one");
}

}  // namespace

StepBench bench_step(const Graph& graph, Backend& backend, const StepBenchOptions& options) {
  check(graph, options);
  StepBench bench;
  bench.peak_flops_per_s = measure_peak(backend, options);
  Rig whole(graph, backend, options, {.fuse = options.fuse, .reuse_memory = true});
  Rig fused(graph, backend, options, {.fuse = options.fuse, .reuse_memory = false});
  Rig single(graph, backend, options, {.fuse = false, .reuse_memory = false});
  StepSeries steps;
  KernelSeries fused_series(fused);
  KernelSeries single_series(single);
  KernelSeries products(single);
  products.run = &Rig::products;
  for (int round = 0; round < options.rounds; ++round) {
    steps.round(whole, options.repetitions);
    fused_series.round(fused, options.repetitions);
    single_series.round(single, options.repetitions);
    products.round(single, options.repetitions);
  }
  steps.report_to(bench);
  const auto report = fused.executor().report();
  for (std::size_t k = 0; k < report.size(); ++k) {
    bench.kernels.push_back(
        {report[k], median(fused_series.forward[k].rounds), median(fused_series.backward[k].rounds)});
    bench.step_flops += report[k].work.forward_flops + report[k].work.backward_flops;
  }
  const auto alone = single.executor().report();
  measure_alone(bench, alone, single_series, products);
  bench.ratio = median_ratio(steps.steps, alone, single_series, products);
  return bench;
}

}  // namespace lockstep::models
