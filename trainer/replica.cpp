#include "trainer/replica.h"

#include <utility>

#include "core/vector/vector.h"

namespace lockstep::trainer {

models::Task task_of(const data::LoaderSpec& spec) {
  return {
      .input = spec.input, .input_dtype = spec.input_dtype, .target = spec.target, .classes = spec.classes};
}

Replica::Replica(const data::LoaderSpec& task, const ReplicaOptions& options)
    : model_(models::models().create(options.model, options.model_settings)),
      compute_(options.backend_options.compute),
      seed_(options.seed) {
  const models::OpSpec loss = models::losses().create(options.loss, options.loss_settings)->spec();
  graph_ = models::build_graph(*model_, task_of(task), options.microbatch, &loss);
  backend_ = models::make_backend(options.backend, options.backend_options);
  executor_ = models::make_executor(
      graph_, *backend_,
      {.training = options.training, .recompute = options.recompute, .plan_only = options.plan_only});
  if (options.plan_only) return;
  const SlotLayout layout = executor_->parameter_layout();
  Memory gradients;
  if (options.gradient_memory) {
    gradients = options.gradient_memory(static_cast<std::size_t>(layout.stored_count()) *
                                        size_of(options.backend_options.gradients));
  }
  store_ = std::make_unique<ParameterStore>(layout, executor_->state_layout(), device(), std::move(gradients),
                                            options.backend_options.gradients);
  models::initialise(graph_, seed_, *store_);
  if (compute_ != Dtype::f32) working_ = make_array(device(), compute_, store_->values().count);
}

void Replica::refresh_working(FlatSpan values, Stream& stream) {
  if (compute_ != Dtype::f32) vector::cast(values, working_.span, stream);
}

models::Pass Replica::pass(models::Mode mode, FlatSpan values) const {
  models::Pass pass;
  pass.mode = mode;
  pass.values = values;
  pass.working = compute_ == Dtype::f32 ? values : working_.span;
  pass.gradients = store_->gradients();
  pass.state = store_->state();
  pass.losses_only = mode == models::Mode::train;  // nobody reads what training predicts
  pass.seed = seed_;
  return pass;
}

}  // namespace lockstep::trainer
