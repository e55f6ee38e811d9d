#include "twin.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/memory.h"
#include "core/parameters.h"
#include "core/random.h"
#include "core/stream.h"
#include "core/vector/vector.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models::testing {
namespace {

std::vector<double> normals(std::int64_t count, const std::string& purpose, std::uint64_t index) {
  const RandomSource source(5, purpose, index);
  std::vector<double> numbers(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(source.normal(i));
  return numbers;
}

/// A flat array on the backend's device with its copy on the host, where tests fill it and look at it.
template <class T>
class Mirrored {
 public:
  Mirrored(Device device, std::int64_t count, T value)
      : host(static_cast<std::size_t>(count), value), array_(make_array(device, dtype_of<T>, count)) {}
  [[nodiscard]] FlatSpan span() const { return array_.span; }
  void to_device() { copy_from_host(host.data(), array_.span); }
  void to_host() { copy_to_host(array_.span, host.data()); }
  std::vector<T> host;

 private:
  FlatArray array_;
};

/// Arrays of one run; T is the element type of flat arrays and host elements.
template <class T>
class Run {
 public:
  Run(Backend& backend, const Graph& graph, const RunSettings& settings)
      : graph_(graph),
        settings_(settings),
        executor_(
            make_executor(graph, backend, {.fuse = settings.fuse, .reuse_memory = settings.reuse_memory})),
        stream_(make_stream(backend.device(), {.threads = settings.threads})),
        values_(backend.device(), executor_->parameter_layout().stored_count(), T{0}),
        gradients_(backend.device(), executor_->parameter_layout().stored_count(), T(77)),  // to overwrite
        state_(backend.device(), executor_->state_layout().stored_count(), T{0}),
        statistics_(backend.device(), executor_->state_layout().stored_count(), T(77)),
        mean_loss_(backend.device(), 1, 0.0F),
        loss_scale_(backend.device(), 1, settings.loss_scale),
        working_(make_array(backend.device(), settings.compute, values_.span().count)) {
    for (const Slot& slot : executor_->parameter_layout().slots()) {
      auto numbers = normals(slot.shape.count(), slot.name, 0);
      for (double& each : numbers) each *= 0.4;
      put(slot, values_.host, numbers);
    }
    for (const Slot& slot : executor_->state_layout().slots()) {
      auto numbers = normals(slot.shape.count(), slot.name, 0);
      for (double& each : numbers) each = 0.3 * each * each + 0.1;
      put(slot, state_.host, numbers);
    }
    values_.to_device();
    gradients_.to_device();
    state_.to_device();
    statistics_.to_device();
    mean_loss_.to_device();
    loss_scale_.to_device();
  }

  RunResult operator()() {
    if (settings_.compute != Dtype::f32) vector::cast(values_.span(), working_.span, *stream_);
    for (int j = 0; j < settings_.microbatches; ++j) microbatch(j);
    gradients_.to_host();
    for (T& each : gradients_.host) each /= static_cast<T>(settings_.loss_scale);
    statistics_.to_host();
    mean_loss_.to_host();
    RunResult result;
    result.losses.assign(losses_.begin(), losses_.end());
    result.prediction.assign(prediction_.begin(), prediction_.end());
    result.mean_loss = static_cast<double>(mean_loss_.host[0]);
    for (const Slot& slot : executor_->parameter_layout().slots())
      result.gradients[slot.name] = get(slot, gradients_.host);
    for (const Slot& slot : executor_->state_layout().slots())
      result.statistics[slot.name] = get(slot, statistics_.host);
    for (const NodeReport& line : executor_->report()) result.ops += line.op + " ";
    return result;
  }

 private:
  static void put(const Slot& slot, std::vector<T>& array, const std::vector<double>& numbers) {
    const auto at = array.begin() + slot.offset;
    if (!slot.storage) {
      std::copy(numbers.begin(), numbers.end(), at);
      return;
    }
    const std::vector<float> canonical(numbers.begin(), numbers.end());
    std::vector<float> stored(static_cast<std::size_t>(slot.stored_count));
    slot.storage->to_storage(canonical, stored);
    std::copy(stored.begin(), stored.end(), at);
  }
  static std::vector<double> get(const Slot& slot, const std::vector<T>& array) {
    const auto at = array.begin() + slot.offset;
    if (!slot.storage) return {at, at + slot.shape.count()};
    const std::vector<float> stored(at, at + slot.stored_count);
    std::vector<float> canonical(static_cast<std::size_t>(slot.shape.count()));
    slot.storage->to_canonical(stored, canonical);
    return {canonical.begin(), canonical.end()};
  }

  const ValueSpec& value(int index) const { return graph_.values()[static_cast<std::size_t>(index)]; }
  /// Host elements of a fed value, which live until the stream passed.
  const void* sample(int index, std::uint64_t microbatch, std::vector<T>& numbers,
                     std::vector<std::int32_t>& ids) {
    const ValueSpec& spec = value(index);
    const auto random = normals(spec.shape.count(), spec.name, microbatch);
    numbers.clear();
    ids.clear();
    // Rounded to f32 first, so that both backends see the same numbers.
    for (double each : random) numbers.push_back(static_cast<T>(static_cast<float>(each)));
    const RandomSource source(6, spec.name, microbatch);
    for (std::size_t i = 0; i < random.size(); ++i)
      ids.push_back(static_cast<std::int32_t>(source.below(i, static_cast<std::uint64_t>(settings_.ids))));
    return spec.dtype == Dtype::i32 ? static_cast<const void*>(ids.data()) : numbers.data();
  }

  void microbatch(int j) {
    Pass pass;
    pass.mode = settings_.mode;
    pass.values = values_.span();
    pass.working = settings_.compute == Dtype::f32 ? pass.values : working_.span;
    pass.gradients = gradients_.span();
    pass.state = state_.span();
    pass.statistics = statistics_.span();
    pass.accumulate = j > 0;
    pass.seed = 3;
    pass.first_sample = 100 + j * graph_.microbatch();
    pass.rows = settings_.rows;
    pass.losses_only = settings_.losses_only;
    if (settings_.loss_scale != 1) pass.loss_scale = static_cast<const float*>(loss_scale_.span().data);
    const auto number = static_cast<std::uint64_t>(settings_.first + j);
    const void* input = sample(graph_.input(), number, numbers_, ids_);
    const void* target = sample(graph_.target(), number, wanted_, labels_);
    for (T& each : numbers_) each += static_cast<T>(settings_.offset);
    losses_.resize(static_cast<std::size_t>(value(graph_.loss()).shape.count()));
    if (!settings_.losses_only)
      prediction_.resize(static_cast<std::size_t>(value(graph_.prediction()).shape.count()));
    executor_->feed(input, target, *stream_);
    executor_->forward(pass, *stream_);
    executor_->read_losses(losses_.data(), *stream_);
    if (!settings_.losses_only) executor_->read_prediction(prediction_.data(), *stream_);
    executor_->add_loss(static_cast<float*>(mean_loss_.span().data), *stream_);
    executor_->backward(pass, {}, *stream_);
    stream_->synchronize();
  }

  const Graph& graph_;
  RunSettings settings_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Stream> stream_;
  Mirrored<T> values_, gradients_, state_, statistics_;
  Mirrored<float> mean_loss_, loss_scale_;
  FlatArray working_;
  std::vector<T> numbers_, wanted_, losses_, prediction_;
  std::vector<std::int32_t> ids_, labels_;
};

void expect_tensors(const Tensors& actual, const Tensors& expected, double tolerance, const char* what) {
  ASSERT_EQ(actual.size(), expected.size());
  // Some gradients vanish by cancellation (a bias before a norm): their error is judged by the others' size.
  double floor = 1e-3;
  for (const auto& [name, numbers] : expected)
    for (double each : numbers) floor = std::max(floor, 0.3 * std::abs(each));
  for (const auto& [name, numbers] : expected)
    EXPECT_LT(relative_error(actual.at(name), numbers, floor), tolerance) << what << " of " << name;
}

}  // namespace

Graph make_graph(const BuildGraph& build, std::int64_t microbatch) {
  GraphBuilder builder(microbatch);
  build(builder);
  return std::move(builder).finish();
}

RunResult run_reference(const Graph& graph, const RunSettings& settings) {
  const auto backend = make_reference_backend<double>({});
  RunSettings wide = settings;
  wide.compute = Dtype::f32;
  wide.loss_scale = 1;
  return Run<double>(*backend, graph, wide)();
}

RunResult run_backend(const Graph& graph, const RunSettings& settings) {
  const auto backend = make_backend(settings.backend, {.compute = settings.compute,
                                                       .tf32 = settings.tf32,
                                                       .threads = settings.threads,
                                                       .sum = {},
                                                       .ranks = 1});
  return run_on(*backend, graph, settings);
}

RunResult run_on(Backend& backend, const Graph& graph, const RunSettings& settings) {
  return Run<float>(backend, graph, settings)();
}

double relative_error(const std::vector<double>& actual, const std::vector<double>& expected, double floor) {
  if (actual.size() != expected.size()) return INFINITY;
  double scale = floor;
  double difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    if (!std::isfinite(actual[i])) return INFINITY;
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
  }
  return difference / scale;
}

void expect_close(const RunResult& actual, const RunResult& expected, double tolerance) {
  EXPECT_LT(relative_error(actual.losses, expected.losses), tolerance) << "losses";
  EXPECT_LT(relative_error(actual.prediction, expected.prediction), tolerance) << "prediction";
  EXPECT_NEAR(actual.mean_loss, expected.mean_loss,
              std::max(1e-4, tolerance) * std::abs(expected.mean_loss) + 1e-6);
  expect_tensors(actual.gradients, expected.gradients, tolerance, "gradient");
  expect_tensors(actual.statistics, expected.statistics, tolerance, "statistics");
}

void expect_agreement(const Graph& graph, const RunSettings& settings, double tolerance) {
  expect_close(run_backend(graph, settings), run_reference(graph, settings), tolerance);
}

int image_behind_parameters(GraphBuilder& builder, const Shape& sample) {
  const int x = builder.input(sample, Dtype::f32);
  return builder.conv2d(x, "before", {.out_channels = sample[0], .kernel = {1, 1}}, {});
}

int sequence_behind_parameters(GraphBuilder& builder, const Shape& sample) {
  const int x = builder.input(sample, Dtype::f32);
  return builder.linear(x, "before", {.out_features = sample[sample.rank() - 1]}, {});
}

}  // namespace lockstep::models::testing
