// What every optimizer here shares: momenta as flat arrays, the walk over the slots in stream order, save and
// load. An optimizer is then its update of one slot.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/memory.h"
#include "trainer/optim/kernels.h"
#include "trainer/optim/optimizer.h"

namespace lockstep::trainer {

class FlatOptimizer : public Optimizer {
 public:
  /// `memories` names the arrays it remembers, at most two: {"momentum"} or {"first", "second"}.
  FlatOptimizer(const SlotLayout& layout, Device device, std::vector<std::string> memories);

  void step(FlatSpan values, FlatSpan gradients, const StepScalars* scalars, Stream& stream) final;
  [[nodiscard]] int state_bytes_per_parameter() const noexcept final;
  void save(StateWriter& writer) const final;
  void load(const StateReader& reader) final;

 protected:
  /// Runs on the stream's worker, once per slot, when the step is not skipped.
  virtual void update(const Slot& slot, const SlotArrays& arrays, const StepScalars& scalars) = 0;

 private:
  const SlotLayout& layout_;
  std::vector<std::string> names_;
  std::vector<FlatArray> memories_;
};

}  // namespace lockstep::trainer
