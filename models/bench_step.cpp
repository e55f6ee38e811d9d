#include "models/bench_step.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <optional>

#include "core/error.h"
#include "models/bench_families.h"
#include "models/bench_rig.h"

namespace lockstep::models {
namespace {

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

/// Kernels one operation each, so that each kind can be summed.
void measure_alone(StepBench& bench, const std::vector<NodeReport>& report, const KernelSeries& series,
                   const KernelSeries& products) {
  for (std::size_t k = 0; k < report.size(); ++k) {
    const OpKind kind = kind_of(report[k].op);
    if (kind == OpKind::convolution) bench.convolutions_s += series.seconds(k);
    if (kind == OpKind::product) bench.products_s += series.seconds(k);
    if (kind == OpKind::norm) bench.norms_s += series.seconds(k);
    if (kind == OpKind::attention) bench.products_s += products.seconds(k);
  }
}

/// What StepBench::ratio says.
double median_ratio(const std::vector<double>& steps, const std::vector<NodeReport>& report,
                    const KernelSeries& series, const KernelSeries& products) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < steps.size(); ++round) {
    double alone = 0;
    for (std::size_t k = 0; k < report.size(); ++k) {
      const OpKind kind = kind_of(report[k].op);
      if (kind == OpKind::other) continue;
      alone += (kind == OpKind::attention ? products : series).seconds_in(round, k);
    }
    ratios.push_back(steps[round] / alone);
  }
  return median(ratios);
}

bool on_gpu(const Backend& backend) { return backend.device().kind == DeviceKind::cuda; }

/// The best rate of square matrix products, large enough to fill the device.
double measure_peak(Backend& backend, const StepBenchOptions& options) {
  double peak = 0;
  using Sizes = std::vector<std::int64_t>;
  for (std::int64_t size : on_gpu(backend) ? Sizes{8192} : Sizes{512, 1024}) {
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

/// What is measured, on up to three executors.
struct Measured {
  StepSeries steps;
  std::optional<KernelSeries> fused, single, products;
  std::vector<NodeReport> report, alone;
  std::size_t arena_bytes = 0;
  StepPieces pieces;
};

/// One executor and its share of a round.
struct Part {
  std::unique_ptr<Rig> rig;
  std::function<void()> round;
};

class Parts {
 public:
  Parts(const Graph& graph, Backend& backend, const StepBenchOptions& options, Measured& to)
      : graph_(graph), backend_(backend), options_(options), to_(to) {}

  [[nodiscard]] Part whole() const {
    auto rig = make({.fuse = options_.fuse, .reuse_memory = true});
    Rig& r = *rig;
    to_.arena_bytes = r.executor().arena_bytes();
    return {std::move(rig), [this, &r] { to_.steps.round(r, options_.repetitions); }};
  }
  [[nodiscard]] Part fused() const {
    auto rig = make({.fuse = options_.fuse, .reuse_memory = false});
    to_.fused.emplace(*rig);
    to_.report = rig->executor().report();
    Rig& r = *rig;
    if (options_.sustain_s > 0) to_.pieces = measure_pieces(r, options_.sustain_s);
    return {std::move(rig), [this, &r] { to_.fused->round(r, options_.repetitions); }};
  }
  [[nodiscard]] Part single() const {
    auto rig = make({.fuse = false, .reuse_memory = false});
    to_.single.emplace(*rig);
    to_.products.emplace(*rig);
    to_.products->run = &Rig::products;
    to_.alone = rig->executor().report();
    Rig& r = *rig;
    return {std::move(rig), [this, &r] {
              to_.single->round(r, options_.repetitions);
              to_.products->round(r, options_.repetitions);
            }};
  }

 private:
  [[nodiscard]] std::unique_ptr<Rig> make(const Rig::Settings& settings) const {
    return std::make_unique<Rig>(graph_, backend_, options_, settings);
  }
  const Graph& graph_;
  Backend& backend_;
  const StepBenchOptions& options_;
  Measured& to_;
};

/// On a CPU all parts in turn, so that a busy machine disturbs them alike. A GPU has room for one at a time,
/// and nobody else runs there.
void measure(const Parts& parts, bool together, int rounds) {
  using Make = Part (Parts::*)() const;
  std::vector<Part> alive;
  const auto run = [&] {
    for (int round = 0; round < rounds; ++round)
      for (const Part& part : alive) part.round();
  };
  for (const Make make : {&Parts::whole, &Parts::fused, &Parts::single}) {
    alive.push_back((parts.*make)());
    if (together) continue;
    run();
    alive.clear();
  }
  run();
}

}  // namespace

StepBench bench_step(const Graph& graph, Backend& backend, const StepBenchOptions& options) {
  check(graph, options);
  StepBench bench;
  bench.peak_flops_per_s = measure_peak(backend, options);
  Measured m;
  measure(Parts(graph, backend, options, m), !on_gpu(backend), options.rounds);
  m.steps.report_to(bench);
  bench.arena_bytes = m.arena_bytes;
  bench.pieces = std::move(m.pieces);
  for (std::size_t k = 0; k < m.report.size(); ++k) {
    bench.kernels.push_back(
        {m.report[k], median(m.fused->forward[k].rounds), median(m.fused->backward[k].rounds)});
    bench.step_flops += m.report[k].work.forward_flops + m.report[k].work.backward_flops;
  }
  measure_alone(bench, m.alone, *m.single, *m.products);
  bench.ratio = median_ratio(m.steps.steps, m.alone, *m.single, *m.products);
  return bench;
}

}  // namespace lockstep::models
