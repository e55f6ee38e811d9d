// What `bench step` measures on: an executor with its arrays and made-up samples, whose parts run one by one
// under a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/parameters.h"
#include "models/bench_step.h"
#include "models/executor.h"

namespace lockstep::models {

/// The upper one of an even number; 0 of none.
[[nodiscard]] double median(std::vector<double> values);

/// Made-up elements of a fed value.
struct Sample {
  std::vector<float> numbers;
  std::vector<std::int32_t> ids;
  Sample(const Graph& graph, int index);
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
  Rig(const Graph& graph, Backend& backend, const StepBenchOptions& options, const Settings& settings);
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  [[nodiscard]] Executor& executor() { return *executor_; }
  [[nodiscard]] Stream& stream() { return *stream_; }
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
  [[nodiscard]] bool has_update() const { return update_ != nullptr; }
  void enqueue_update() {
    if (update_) update_(store_, *stream_);
  }
  double update() {
    return timed([this] { enqueue_update(); });
  }
  void enqueue_kernel(int number, bool backward) { executor_->run_kernel(number, backward, pass_, *stream_); }
  double kernel(int number, bool backward) {
    return timed([=, this] { enqueue_kernel(number, backward); });
  }
  /// The matrix products of attention alone.
  double products(int number, bool backward) {
    Pass pass = pass_;
    pass.products_only = true;
    return timed([&] { executor_->run_kernel(number, backward, pass, *stream_); });
  }
  /// By the backend's clock, or the compute thread's processor time.
  double timed(const std::function<void()>& work);

 private:
  std::unique_ptr<Executor> executor_;
  ParameterStore store_;
  FlatArray statistics_, working_;
  Sample input_, target_;
  Backend& backend_;
  bool processor_time_;
  StepUpdate update_;
  Pass pass_;
  std::unique_ptr<Stream> stream_;  ///< dies first: its work uses what is above
};

}  // namespace lockstep::models
