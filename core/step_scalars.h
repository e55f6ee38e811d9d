// The few numbers of a step that kernels read and write in stream order. They live in device memory and are
// read back a step later, so the host never waits inside a step.
#pragma once

#include <cstdint>

namespace lockstep {

struct StepScalars {
  std::int64_t step = 0;     ///< optimizer updates done before this one
  float rate = 0;            ///< learning rate of this step
  float gradient_scale = 1;  ///< multiplies the summed gradients: 1 / (microbatches of the step * loss scale)
  float clip_factor = 1;     ///< set by global-norm clipping: min(1, bound / norm)
  float gradient_norm = 0;   ///< norm of the scaled gradients, before clipping
  float loss = 0;            ///< sum over this rank's microbatches of their mean loss
  std::int32_t skip = 0;     ///< 1: some rank saw a non-finite number; nobody updates
};

}  // namespace lockstep
