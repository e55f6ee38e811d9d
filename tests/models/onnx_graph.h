// What the ONNX operators are built from: a one-operation graph on a backend, and views of shapes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/stream.h"
#include "models/executor.h"
#include "onnx_cases.h"

namespace lockstep::models::testing {

using Values = std::vector<double>;

/// A graph on a backend in f32, with parameters set by name.
class OnBackend {
 public:
  OnBackend(std::string_view backend, std::int64_t microbatch,
            const std::function<void(GraphBuilder&)>& build)
      : backend_(make_backend(backend, {})),
        graph_(make(microbatch, build)),
        executor_(make_executor(graph_, *backend_, {.training = false})),
        store_(executor_->parameter_layout(), executor_->state_layout(), backend_->device()),
        statistics_(make_array(backend_->device(), Dtype::f32, executor_->state_layout().stored_count())),
        stream_(make_stream(backend_->device())) {
    initialise(graph_, 0, store_);
  }

  void set(const std::string& parameter, const Values& values) {
    store_.write(parameter, std::vector<float>(values.begin(), values.end()));
  }
  Values predict(const Values& input, Mode mode = Mode::evaluate) {
    run(input, {}, mode);
    std::vector<float> result(count(graph_.prediction()));
    executor_->read_prediction(result.data(), *stream_);
    stream_->synchronize();
    return {result.begin(), result.end()};
  }
  Values losses(const Values& input, const Values& target) {
    run(input, target, Mode::evaluate);
    std::vector<float> result(count(graph_.loss()));
    executor_->read_losses(result.data(), *stream_);
    stream_->synchronize();
    return {result.begin(), result.end()};
  }

 private:
  static Graph make(std::int64_t microbatch, const std::function<void(GraphBuilder&)>& build) {
    GraphBuilder builder(microbatch);
    build(builder);
    return std::move(builder).finish();
  }
  [[nodiscard]] std::size_t count(int value) const {
    return static_cast<std::size_t>(graph_.values()[static_cast<std::size_t>(value)].shape.count());
  }
  void run(const Values& input, const Values& target, Mode mode) {
    const bool ids = graph_.values()[static_cast<std::size_t>(graph_.input())].dtype == Dtype::i32;
    const std::vector<float> floats(input.begin(), input.end());
    const std::vector<std::int32_t> integers(input.begin(), input.end());
    const std::vector<std::int32_t> labels(target.begin(), target.end());
    Pass pass;
    pass.mode = mode;
    pass.values = pass.working = store_.values();
    pass.gradients = store_.gradients();
    pass.state = store_.state();
    pass.statistics = statistics_.span;
    executor_->feed(ids ? static_cast<const void*>(integers.data()) : floats.data(),
                    labels.empty() ? nullptr : labels.data(), *stream_);
    executor_->forward(pass, *stream_);
    stream_->synchronize();
  }

  std::unique_ptr<Backend> backend_;
  Graph graph_;
  std::unique_ptr<Executor> executor_;
  ParameterStore store_;
  FlatArray statistics_;
  std::unique_ptr<Stream> stream_;
};

/// The axes before, at and after `axis` (negative: from the end), multiplied.
struct Split {
  std::int64_t before = 1, at = 1, after = 1;
};
[[nodiscard]] Split split(const Shape& shape, std::int64_t axis);

/// Elements of the axes from `axis` on.
[[nodiscard]] std::int64_t from_axis(const Shape& shape, std::int64_t axis);

[[nodiscard]] Shape sample_of(const Shape& batch);

/// An operation without parameters on input 0, viewed as `batch`.
[[nodiscard]] Values run_plain(const OnnxCase& each, std::string_view backend, const OpSpec& op,
                               const Shape& batch, Mode mode = Mode::evaluate);

/// Padding at the beginning and end of each spatial axis.
struct Pads {
  Pair begin{0, 0}, end{0, 0};
  [[nodiscard]] bool symmetric() const { return begin == end; }
};
[[nodiscard]] Pads pads_of(const OnnxCase& each);

[[nodiscard]] Pair pair_of(const std::vector<std::int64_t>& values, std::size_t first = 0);

}  // namespace lockstep::models::testing
