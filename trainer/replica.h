// One rank's copy of the model: graph, kernels, flat arrays, and the little that surrounds them (working copy
// in the compute dtype, averaged weights). Knows nothing of other ranks.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/memory.h"
#include "core/parameters.h"
#include "core/stream.h"
#include "data/loader.h"
#include "models/executor.h"
#include "models/model.h"
#include "models/ops/kernel.h"

namespace lockstep::trainer {

struct ReplicaOptions {
  std::string model;
  Options model_settings;
  std::string loss;
  Options loss_settings;
  std::string backend = "cpu";
  models::BackendOptions backend_options;
  std::int64_t microbatch = 1;
  std::uint64_t seed = 0;
  bool training = true;
  bool recompute = false;  ///< as models::ExecutorOptions
  bool plan_only = false;  ///< as models::ExecutorOptions: no store, for reports
  /// Asked for the memory of the gradient array, on the replica's device; null, or no memory returned: own
  /// memory.
  std::function<Memory(std::size_t bytes)> gradient_memory;
};

class Replica {
 public:
  /// Builds the model for what the loader feeds and initialises it from the seed. Throws Fault::config or
  /// Fault::device.
  Replica(const data::LoaderSpec& task, const ReplicaOptions& options);

  [[nodiscard]] const models::Model& model() const noexcept { return *model_; }
  [[nodiscard]] const models::Graph& graph() const noexcept { return graph_; }
  [[nodiscard]] models::Executor& executor() noexcept { return *executor_; }
  [[nodiscard]] const models::Executor& executor() const noexcept { return *executor_; }
  [[nodiscard]] ParameterStore& store() noexcept { return *store_; }
  [[nodiscard]] const ParameterStore& store() const noexcept { return *store_; }
  [[nodiscard]] Device device() const noexcept { return backend_->device(); }

  /// The working copy of the parameters; no elements when computing in f32.
  [[nodiscard]] FlatSpan working() const noexcept { return working_.span; }
  /// Enqueues the cast of `values` into the working copy (nothing when computing in f32).
  void refresh_working(FlatSpan values, Stream& stream);
  /// A pass over the given master values with the working copy that belongs to them.
  [[nodiscard]] models::Pass pass(models::Mode mode, FlatSpan values) const;

 private:
  std::unique_ptr<models::Model> model_;
  models::Graph graph_;
  std::unique_ptr<models::Backend> backend_;
  std::unique_ptr<models::Executor> executor_;
  std::unique_ptr<ParameterStore> store_;
  FlatArray working_;
  Dtype compute_ = Dtype::f32;
  std::uint64_t seed_ = 0;
};

/// What the data offers in the model's words.
[[nodiscard]] models::Task task_of(const data::LoaderSpec& spec);

}  // namespace lockstep::trainer
