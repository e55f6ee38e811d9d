#include "models/bench_step.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>

#include "core/error.h"
#include "core/memory.h"
#include "core/parameters.h"
#include "core/random.h"
#include "core/vector/vector.h"

namespace lockstep::models {
namespace {

constexpr std::uint64_t kSeed = 1;

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Processor time of the calling thread.
double thread_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

const ValueSpec& value_of(const Graph& graph, int index) {
  return graph.values()[static_cast<std::size_t>(index)];
}

/// Ids and labels below every vocabulary and class count of the graph.
std::int64_t smallest_vocabulary(const Graph& graph) {
  const Shape& prediction = value_of(graph, graph.prediction()).shape;
  std::int64_t bound = prediction.rank() == 4 ? prediction[1] : prediction[prediction.rank() - 1];
  for (const Node& node : graph.nodes())
    if (const auto* op = std::get_if<Embedding>(&node.spec)) bound = std::min(bound, op->vocabulary);
  return bound;
}

/// Made-up elements of a fed value.
struct Sample {
  std::vector<float> numbers;
  std::vector<std::int32_t> ids;
  Sample(const Graph& graph, int index) {
    const ValueSpec& spec = value_of(graph, index);
    const RandomSource source(kSeed, "bench:" + spec.name, 0);
    const auto bound = static_cast<std::uint64_t>(smallest_vocabulary(graph));
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(spec.shape.count()); ++i) {
      if (spec.dtype == Dtype::i32)
        ids.push_back(static_cast<std::int32_t>(source.below(i, bound)));
      else
        numbers.push_back(source.normal(i));
    }
  }
  [[nodiscard]] const void* data() const {
    return ids.empty() ? static_cast<const void*>(numbers.data()) : ids.data();
  }
};

/// An executor with its arrays, ready to step.
class Rig {
 public:
  struct Settings {
    bool fuse, reuse_memory;
  };
  Rig(const Graph& graph, Backend& backend, const StepBenchOptions& options, const Settings& settings)
      : executor_(
            make_executor(graph, backend,
                          {.training = true, .fuse = settings.fuse, .reuse_memory = settings.reuse_memory})),
        store_(executor_->parameter_layout(), executor_->state_layout(), backend.device()),
        statistics_(make_array(backend.device(), Dtype::f32, executor_->state_layout().stored_count())),
        stream_(make_stream(backend.device(), {.name = "bench", .threads = options.threads})),
        input_(graph, graph.input()),
        target_(graph, graph.target()),
        clock_(options.processor_time ? thread_s : wall_s),
        update_(options.update) {
    initialise(graph, kSeed, store_);
    pass_.values = pass_.working = store_.values();
    if (options.compute != Dtype::f32) {
      working_ = make_array(backend.device(), options.compute, store_.values().count);
      vector::cast(store_.values(), working_.span, *stream_);
      pass_.working = working_.span;
    }
    pass_.gradients = store_.gradients();
    pass_.state = store_.state();
    pass_.statistics = statistics_.span;
    step();
  }
  ~Rig() { stream_->synchronize(); }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  [[nodiscard]] Executor& executor() { return *executor_; }
  void step() {
    forward();
    backward();
  }
  double forward() {
    return timed([this] {
      executor_->feed(input_.data(), target_.data(), *stream_);
      executor_->forward(pass_, *stream_);
    });
  }
  double backward() {
    return timed([this] { executor_->backward(pass_, {}, *stream_); });
  }
  double update() {
    return timed([this] {
      if (update_) update_(store_, *stream_);
    });
  }
  double kernel(int number, bool backward) {
    return timed([=, this] { executor_->run_kernel(number, backward, pass_, *stream_); });
  }
  /// The matrix products of attention alone.
  double products(int number, bool backward) {
    Pass pass = pass_;
    pass.products_only = true;
    return timed([&] { executor_->run_kernel(number, backward, pass, *stream_); });
  }

 private:
  template <class Work>
  double timed(const Work& work) {
    double start = 0;
    double end = 0;
    stream_->host([&] { start = clock_(); });
    work();
    stream_->host([&] { end = clock_(); });
    stream_->synchronize();
    return end - start;
  }

  std::unique_ptr<Executor> executor_;
  ParameterStore store_;
  FlatArray statistics_, working_;
  std::unique_ptr<Stream> stream_;
  Sample input_, target_;
  double (*clock_)();
  StepUpdate update_;
  Pass pass_;
};

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
void measure_alone(StepBench& bench, Rig& rig, const KernelSeries& series, const KernelSeries& products) {
  const auto report = rig.executor().report();
  for (std::size_t k = 0; k < report.size(); ++k) {
    const Kind kind = kind_of(report[k].op);
    if (kind == Kind::convolution) bench.convolutions_s += series.seconds(k);
    if (kind == Kind::product) bench.products_s += series.seconds(k);
    if (kind == Kind::norm) bench.norms_s += series.seconds(k);
    if (kind == Kind::attention) bench.products_s += products.seconds(k);
  }
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
  measure_alone(bench, single, single_series, products);
  return bench;
}

}  // namespace lockstep::models
