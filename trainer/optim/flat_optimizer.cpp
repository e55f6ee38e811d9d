#include "trainer/optim/flat_optimizer.h"

#include <cstddef>
#include <utility>

#include "core/error.h"
#include "trainer/backends.h"

namespace lockstep::trainer {

FlatOptimizer::FlatOptimizer(const SlotLayout& layout, Device device, std::vector<std::string> memories)
    : whole_(layout), device_(device), names_(std::move(memories)) {}

void FlatOptimizer::own(const Part& part) {
  part_ = part;
  layout_ = layout_of(part, whole_);
  updater_ = device_kernels(device_).make_updater(layout_, device_);
  memories_.clear();
  for (std::size_t i = 0; i < names_.size(); ++i)
    memories_.push_back(make_array(device_, Dtype::f32, layout_.stored_count()));
}

void FlatOptimizer::take_momentum(std::int64_t /*after*/, bool /*refreshed*/) {
  throw Error(Fault::config, "the optimizer makes its own momentum, the compressor too",
              "set optimizer.name to sgd or adamw, or choose another compressor");
}

void FlatOptimizer::step(FlatSpan values, FlatSpan gradients, const StepScalars* scalars, Stream& stream,
                         FlatSpan working) {
  if (part_.count == 0) return;
  UpdateArrays arrays{.values = values.part(part_.first, part_.count),
                      .gradients = gradients.part(part_.first, part_.count)};
  if (working.count > 0) arrays.working = working.part(part_.first, part_.count);
  if (!memories_.empty()) arrays.first = memories_[0].span;
  if (memories_.size() > 1) arrays.second = memories_[1].span;
  update(*updater_, arrays, scalars, stream);
}

int FlatOptimizer::state_bytes_per_parameter() const noexcept {
  return static_cast<int>(names_.size() * sizeof(float));
}

void FlatOptimizer::save(StateWriter& writer) const {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    StateWriter scope = writer.scope(names_[i]);
    save_slots(scope, layout_, memories_[i].span);
  }
}

void FlatOptimizer::load(const StateReader& reader) {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    load_slots(reader.scope(names_[i]), layout_, memories_[i].span);
  }
}

}  // namespace lockstep::trainer
