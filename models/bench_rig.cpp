#include "models/bench_rig.h"

#include <algorithm>
#include <ctime>

#include "core/random.h"
#include "core/vector/vector.h"

namespace lockstep::models {
namespace {

constexpr std::uint64_t kSeed = 1;

/// Processor time of the calling thread.
double thread_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
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

}  // namespace

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

Sample::Sample(const Graph& graph, int index) {
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

Rig::Rig(const Graph& graph, Backend& backend, const StepBenchOptions& options, const Settings& settings)
    : executor_(make_executor(
          graph, backend, {.training = true, .fuse = settings.fuse, .reuse_memory = settings.reuse_memory})),
      store_(executor_->parameter_layout(), executor_->state_layout(), backend.device()),
      statistics_(make_array(backend.device(), Dtype::f32, executor_->state_layout().stored_count())),
      input_(graph, graph.input()),
      target_(graph, graph.target()),
      backend_(backend),
      processor_time_(options.processor_time),
      update_(options.update),
      stream_(make_stream(backend.device(), {.name = "bench", .threads = options.threads})) {
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
  pass_.losses_only = true;
  step();
}

double Rig::timed(const std::function<void()>& work) {
  if (!processor_time_) return backend_.seconds_of(work, *stream_);
  double start = 0;
  double end = 0;
  stream_->host([&] { start = thread_s(); });
  work();
  stream_->host([&] { end = thread_s(); });
  stream_->synchronize();
  return end - start;
}

}  // namespace lockstep::models
