// What a step decides, written once for all devices (nvcc compiles constexpr functions for the GPU too).
#pragma once

#include <cstdint>

#include "core/step_scalars.h"

namespace lockstep::trainer {

/// Numbers that travel behind the statistics of normalisation layers, to be summed over ranks.
struct StepTail {
  float loss = 0;
  float stop = 0;  ///< ranks that were asked to stop
};

/// How the loss scale of f16 moves: it grows after so many finite steps and is halved by an overflow, as in
/// Micikevicius et al., "Mixed Precision Training", ICLR 2018.
struct LossScaling {
  bool dynamic = false;
  float first = 65536;
  std::int32_t grow_after = 2000;
  float least = 1;
  float most = 16777216;  // 2^24
};

/// What stays the same from step to step.
struct StepRule {
  double clip_norm = 0;  ///< 0: none
  LossScaling scaling;
};

struct StepOpening {
  std::int64_t step = 0;
  float rate = 0;
  float mean = 1;
  bool stop = false;
};

constexpr void open_step(StepScalars& scalars, const StepOpening& opening) {
  scalars.step = opening.step;
  scalars.rate = opening.rate;
  scalars.mean = opening.mean;
  scalars.gradient_scale = opening.mean / scalars.loss_scale;
  scalars.clip_factor = 1;
  scalars.waited_s = 0;
  scalars.asked_to_stop = opening.stop ? 1.0f : 0.0f;
  if (scalars.skip == kSkipOverflow) scalars.skip = kSkipNone;
}

constexpr void add_wait(StepScalars& scalars, std::int64_t now_ns) {
  scalars.waited_s = scalars.waited_s + 1e-9f * static_cast<float>(now_ns - scalars.wait_began_ns);
}

constexpr bool is_finite(double x) { return x - x == 0; }

constexpr void move_loss_scale(StepScalars& scalars, bool overflow, const LossScaling& scaling) {
  if (overflow) {
    scalars.loss_scale = scalars.loss_scale / 2;
    scalars.good_steps = 0;
  } else if (++scalars.good_steps >= scaling.grow_after) {
    if (scalars.loss_scale * 2 <= scaling.most) scalars.loss_scale = scalars.loss_scale * 2;
    scalars.good_steps = 0;
  }
}

/// `length` is the Euclidean norm of the summed gradients, `tail` the sum over ranks.
constexpr void finish_step(StepScalars& scalars, double length, const StepTail& tail, const StepRule& rule) {
  const double norm = length * static_cast<double>(scalars.gradient_scale);
  scalars.gradient_norm = static_cast<float>(norm);
  scalars.loss = tail.loss * scalars.mean;
  scalars.stop = tail.stop;
  // Sticky: a step enqueued behind a bad one must not move the parameters either.
  if (scalars.skip != kSkipNone) return;
  const bool finite = is_finite(norm), finite_loss = is_finite(static_cast<double>(scalars.loss));
  const bool overflow =
      rule.scaling.dynamic && finite_loss && !finite && scalars.loss_scale > rule.scaling.least;
  if (overflow) {
    scalars.skip = kSkipOverflow;
  } else if (!finite || !finite_loss) {
    scalars.skip = kSkipNonfinite;
    return;
  }
  if (rule.scaling.dynamic) move_loss_scale(scalars, overflow, rule.scaling);
  if (rule.clip_norm > 0 && norm > rule.clip_norm)
    scalars.clip_factor = static_cast<float>(rule.clip_norm / norm);
}

}  // namespace lockstep::trainer
