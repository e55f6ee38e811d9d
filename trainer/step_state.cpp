// What a step remembers from one to the next, saved and loaded.
#include "trainer/step.h"

namespace lockstep::trainer {

void StepEngine::save(StateWriter& writer) const {
  StateWriter model = writer.scope("model");
  replica_.store().save(model);
  if (parts_.empty()) {
    StateWriter optimizer = writer.scope("optimizer");
    optimizer_.save(optimizer);
  }
  if (options_.ema > 0) {
    StateWriter average = writer.scope("average");
    save_slots(average, replica_.store().layout(), average_.span);
  }
  if (!options_.rule.scaling.dynamic) return;
  StepScalars now;
  copy_to_host(scalars_.span, &now);
  StateWriter scaling = writer.scope("loss_scaling");
  scaling.real("scale", static_cast<double>(now.loss_scale));
  scaling.integer("good_steps", now.good_steps);
}

void StepEngine::load(const StateReader& reader) {
  compute_.synchronize();  // what the constructor enqueued would overwrite what is loaded
  replica_.store().load(reader.scope("model"));
  optimizer_.load(reader.scope("optimizer"));
  if (options_.ema > 0) load_slots(reader.scope("average"), replica_.store().layout(), average_.span);
  const StateReader scaling = reader.scope("loss_scaling");
  if (options_.rule.scaling.dynamic && scaling.any()) {
    StepScalars now;
    now.loss_scale = static_cast<float>(scaling.real("scale"));
    now.good_steps = static_cast<std::int32_t>(scaling.integer("good_steps"));
    copy_from_host(&now, scalars_.span);
  }
  replica_.refresh_working(replica_.store().values(), compute_);
  compute_.synchronize();
}

void StepEngine::save_own(StateWriter& writer) const {
  StateWriter compression = writer.scope("compression");
  exchange_->save(compression);
  if (parts_.empty()) return;
  StateWriter optimizer = writer.scope("optimizer");
  optimizer_.save(optimizer);
}

std::string overflow_text(const StepResult& result) {
  return "step " + std::to_string(result.step) + " overflowed f16 and was skipped: the loss scale is now " +
         std::to_string(static_cast<std::int64_t>(result.loss_scale));
}

}  // namespace lockstep::trainer
