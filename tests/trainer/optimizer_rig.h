// An optimizer with its arrays on a device, stepped one update at a time on reproducible gradients.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/parameters.h"
#include "core/random.h"
#include "core/stream.h"
#include "trainer/optim/optimizer.h"

namespace lockstep::trainer {

using Pairs = std::vector<std::pair<std::string, std::string>>;

class OptimizerRig {
 public:
  OptimizerRig(std::vector<SlotSpec> slots, const std::string& name, const Pairs& settings = {},
               Device device = {})
      : store_(SlotLayout(std::move(slots)), SlotLayout(), device),
        scalars_(make_array(device, Dtype::u8, sizeof(StepScalars))),
        stream_(make_stream(device, {.name = "optimizer"})),
        optimizer_(optimizers().create(name, Options::of(optimizers().row(name).settings, settings),
                                       store_.layout(), device)) {
    optimizer_->own(whole_of(store_.layout()));
    for (const Slot& slot : store_.layout().slots()) set_value(slot.name, normals(slot, "values", 0));
  }

  [[nodiscard]] const SlotLayout& layout() const { return store_.layout(); }
  [[nodiscard]] Optimizer& optimizer() { return *optimizer_; }
  [[nodiscard]] ParameterStore& store() { return store_; }
  [[nodiscard]] std::vector<float> value(const std::string& slot) const { return store_.read(slot); }
  void set_value(const std::string& slot, const std::vector<float>& values) { store_.write(slot, values); }
  [[nodiscard]] std::vector<float> gradient(const std::string& slot) const {
    return read_slot(*store_.layout().find(slot), store_.gradients());
  }

  /// One update with the gradients of number `draw`.
  void step(const StepScalars& scalars, int draw, FlatSpan working = {}) {
    for (const Slot& slot : store_.layout().slots())
      write_slot(slot, store_.gradients(), normals(slot, "gradients", static_cast<std::uint64_t>(draw)));
    step_as_is(scalars, working);
  }
  /// One update with whatever the gradients are.
  void step_as_is(const StepScalars& scalars, FlatSpan working = {}) {
    copy_from_host(&scalars, scalars_.span);
    optimizer_->step(store_.values(), store_.gradients(), static_cast<const StepScalars*>(scalars_.span.data),
                     *stream_, working);
    stream_->synchronize();
  }

 private:
  static std::vector<float> normals(const Slot& slot, const std::string& purpose, std::uint64_t index) {
    const RandomSource random(1, purpose + slot.name, index);
    std::vector<float> numbers(static_cast<std::size_t>(slot.shape.count()));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = random.normal(i);
    return numbers;
  }

  ParameterStore store_;
  FlatArray scalars_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace lockstep::trainer
