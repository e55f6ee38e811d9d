// The few numbers of a step that kernels read and write in stream order. They live in device memory and are
// read back a step later, so the host never waits inside a step.
#pragma once

#include <cstdint>

namespace lockstep {

/// Why a step updates nothing.
inline constexpr std::int32_t kSkipNone = 0;
/// Some rank saw a number that is not finite: stays set for the steps behind it, until acknowledged.
inline constexpr std::int32_t kSkipNonfinite = 1;
/// The loss scale was too large for f16: this step only.
inline constexpr std::int32_t kSkipOverflow = 2;

struct StepScalars {
  std::int64_t step = 0;     ///< optimizer updates done before this one
  float rate = 0;            ///< learning rate of this step
  float gradient_scale = 1;  ///< multiplies the summed gradients: mean / loss_scale
  float clip_factor = 1;     ///< set by global-norm clipping: min(1, bound / norm)
  float gradient_norm = 0;   ///< norm of the scaled gradients, before clipping
  float loss = 0;            ///< mean over all microbatches of all ranks
  std::int32_t skip = kSkipNone;
  float mean = 1;                  ///< 1 / microbatches of the step over all ranks
  float loss_scale = 1;            ///< what backward multiplies the loss by: a power of two
  std::int32_t good_steps = 0;     ///< finite ones since the loss scale changed
  float asked_to_stop = 0;         ///< this rank was asked to stop before this step
  float stop = 0;                  ///< some rank was
  std::int64_t wait_began_ns = 0;  ///< when the compute stream came to wait for communication
  float waited_s = 0;              ///< how long it waited in this step
};

}  // namespace lockstep
