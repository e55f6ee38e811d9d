// An optimizer turns summed gradients into new master values: one pass over the flat arrays, in stream order,
// with the step's numbers (rate, gradient scale, clip factor, skip) read from device memory. What it
// remembers (momenta) is kept in flat arrays of the same layout and saved slot by slot.
#pragma once

#include <memory>

#include "core/options.h"
#include "core/parameters.h"
#include "core/registry.h"
#include "core/state.h"
#include "core/step_scalars.h"
#include "core/stream.h"
#include "trainer/optim/part.h"

namespace lockstep::trainer {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Makes the memory for this part, which alone it updates and remembers from now on, from zero state. Once,
  /// before anything else but state_bytes_per_parameter(): a plan that is only printed needs no memory.
  virtual void own(const Part& part) = 0;
  /// From update number `after` (counted from 0) on gradients come with their momentum in them, as this
  /// optimizer defines it: it makes none of its own any more. `refreshed`: but for exact steps
  /// (core/refresh.h), which alone it measures variances in. Throws Fault::config where it cannot do so.
  virtual void take_momentum(std::int64_t after, bool refreshed) = 0;
  /// Enqueues one update of `values` from `gradients` (both f32, laid out by the layout, on a GPU also bf16
  /// gradients; gradients are left alone). Does nothing when scalars->skip is set. `scalars` is device
  /// memory. `working`, when it has elements, is the values' copy in the compute dtype and becomes theirs
  /// again.
  virtual void step(FlatSpan values, FlatSpan gradients, const StepScalars* scalars, Stream& stream,
                    FlatSpan working = {}) = 0;
  /// Bytes of memory per parameter besides values and gradients.
  [[nodiscard]] virtual int state_bytes_per_parameter() const noexcept = 0;
  /// Of the slots it owns; load() finds them among others. Blocking; no stream may be using the optimizer.
  virtual void save(StateWriter& writer) const = 0;
  virtual void load(const StateReader& reader) = 0;
};

/// The table of optimizers. The layout must outlive the optimizer.
using OptimizerRegistry = Registry<Optimizer, const SlotLayout&, Device>;
[[nodiscard]] const OptimizerRegistry& optimizers();

}  // namespace lockstep::trainer
