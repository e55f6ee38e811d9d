#include "trainer/optim/flat_optimizer.h"

#include <cstddef>

namespace lockstep::trainer {

FlatOptimizer::FlatOptimizer(const SlotLayout& layout, Device device, std::vector<std::string> memories)
    : layout_(layout), names_(std::move(memories)) {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    memories_.push_back(make_array(device, Dtype::f32, layout.stored_count()));
  }
}

void FlatOptimizer::step(FlatSpan values, FlatSpan gradients, const StepScalars* scalars, Stream& stream) {
  stream.host([this, values, gradients, scalars] {
    if (scalars->skip != 0) return;
    const auto slice = [](FlatSpan array, const Slot& slot) {
      return array.part(slot.offset, slot.stored_count).as<float>();
    };
    for (const Slot& slot : layout_.slots()) {
      SlotArrays arrays{slice(values, slot), slice(gradients, slot), {}, {}};
      if (!memories_.empty()) arrays.first = slice(memories_[0].span, slot);
      if (memories_.size() > 1) arrays.second = slice(memories_[1].span, slot);
      update(slot, arrays, *scalars);
    }
  });
}

int FlatOptimizer::state_bytes_per_parameter() const noexcept {
  return static_cast<int>(memories_.size() * sizeof(float));
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
