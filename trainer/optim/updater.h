// The updates of the optimizers over whole flat arrays, on one device. Each enqueues, reads the step's
// numbers from device memory when it runs, and does nothing when `skip` is set. Sums (norms of slots) run in
// a fixed order.
#pragma once

#include "core/flat_span.h"
#include "core/parameters.h"
#include "core/step_scalars.h"
#include "core/stream.h"
#include "trainer/optim/rules.h"

namespace lockstep::trainer {

/// What an update works on: f32 arrays of one layout.
struct UpdateArrays {
  FlatSpan values;
  FlatSpan gradients;  ///< on a GPU also bf16, beside a bf16 working copy
  FlatSpan first;      ///< momentum
  FlatSpan second;     ///< second moment; no elements when the optimizer has none
  FlatSpan working;    ///< values in the compute dtype, written along; no elements: none
};

class Updater {
 public:
  virtual ~Updater() = default;
  virtual void sgd(const UpdateArrays& arrays, const SgdRule& rule, const StepScalars* scalars,
                   Stream& stream) = 0;
  virtual void adam(const UpdateArrays& arrays, const AdamRule& rule, const StepScalars* scalars,
                    Stream& stream) = 0;
  virtual void lars(const UpdateArrays& arrays, const LarsRule& rule, const StepScalars* scalars,
                    Stream& stream) = 0;
  /// Decoupled decay only.
  virtual void lamb(const UpdateArrays& arrays, const AdamRule& rule, const StepScalars* scalars,
                    Stream& stream) = 0;
};

}  // namespace lockstep::trainer
