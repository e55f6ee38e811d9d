// The equations of the optimizers, element by element, written once for all devices (nvcc compiles constexpr
// functions for the GPU too; what is not constexpr, the square root, is passed in). g is the gradient times
// `scale` (gradient scale times clip factor); w the value; primes mark bias-corrected moments.
#pragma once

#include <cstdint>

#include "core/refresh.h"
#include "core/step_scalars.h"

namespace lockstep::trainer {

/// d = g + coupled * w;  m = momentum * m + d;  w -= rate * (nesterov ? d + momentum * m : m) + rate *
/// decoupled * w.
struct SgdRule {
  float momentum = 0, coupled_decay = 0, decoupled_decay = 0;
  bool nesterov = false;
  bool decay_only = false;  ///< momentum of coupled * w alone: g has its own
};
struct SgdNumbers {
  float rate;
  float inside, outside;  ///< the gradient's scale in the momentum and beside it
  float momentum, coupled_decay, decoupled_decay;
  float ahead, keep;  ///< w -= rate * (ahead * d + keep * m)
};
[[nodiscard]] constexpr SgdNumbers sgd_numbers(const SgdRule& rule, const StepScalars& scalars, bool decays) {
  const float scale = scalars.gradient_scale * scalars.clip_factor;
  return {scalars.rate,
          rule.decay_only ? 0.0f : scale,
          rule.decay_only ? scale : 0.0f,
          rule.momentum,
          decays ? rule.coupled_decay : 0.0f,
          decays ? rule.decoupled_decay : 0.0f,
          rule.nesterov ? 1.0f : 0.0f,
          rule.nesterov ? rule.momentum : 1.0f};
}
/// Returns the new value.
[[gnu::always_inline]] constexpr inline float sgd_element(float value, float gradient, float& momentum,
                                                          const SgdNumbers& n) {
  const float d = gradient * n.inside + n.coupled_decay * value;
  const float m = n.momentum * momentum + d;
  momentum = m;
  return value -
         (n.rate * (n.ahead * d + n.keep * m + gradient * n.outside) + n.rate * n.decoupled_decay * value);
}

/// d = g + coupled * w;  m, v = moments of d;  w -= rate * (m' / (sqrt(v') + epsilon) + decoupled * w).
struct AdamRule {
  double beta1 = 0, beta2 = 0;
  float epsilon = 0, decoupled_decay = 0, coupled_decay = 0;
  /// 1-bit Adam when not 0: no bias correction; after so many updates the second moment stands still, and the
  /// gradient is the first moment.
  std::int64_t freeze_steps = 0;
  /// When not negative: after so many updates the gradient is the first moment. `refreshed`: but for exact
  /// steps (core/refresh.h), which alone move the second moment.
  std::int64_t given_after = -1;
  bool refreshed = false;
};
struct AdamNumbers {
  float rate, scale, beta1, beta2;
  float correction1, correction2;  ///< 1 / (1 - beta^t)
  float epsilon, decoupled_decay, coupled_decay;
};
/// `power1` and `power2` are beta1 and beta2 to the power of the step's number, counted from 1.
[[nodiscard]] constexpr AdamNumbers adam_numbers(const AdamRule& rule, const StepScalars& scalars,
                                                 double power1, double power2, bool decays) {
  const bool one_bit = rule.freeze_steps > 0;
  const bool frozen = one_bit && scalars.step >= rule.freeze_steps;
  const std::int64_t past = scalars.step - rule.given_after;
  const bool given = frozen || (rule.given_after >= 0 && past >= 0 && !(rule.refreshed && refreshes(past)));
  return {scalars.rate,
          scalars.gradient_scale * scalars.clip_factor,
          given ? 0.0f : static_cast<float>(rule.beta1),
          frozen || (given && rule.refreshed) ? 1.0f : static_cast<float>(rule.beta2),
          one_bit ? 1.0f : static_cast<float>(1.0 / (1.0 - power1)),
          one_bit ? 1.0f : static_cast<float>(1.0 / (1.0 - power2)),
          rule.epsilon,
          decays ? rule.decoupled_decay : 0.0f,
          decays ? rule.coupled_decay : 0.0f};
}
[[gnu::always_inline]] constexpr inline void adam_moments(float value, float gradient, float& first,
                                                          float& second, const AdamNumbers& n) {
  const float d = gradient * n.scale + n.coupled_decay * value;
  first = n.beta1 * first + (1.0f - n.beta1) * d;
  second = n.beta2 * second + (1.0f - n.beta2) * (d * d);
}
/// m' / (sqrt(v') + epsilon) + decoupled * w
template <class Root>
[[gnu::always_inline]] constexpr inline float adam_direction(float value, float first, float second,
                                                             const AdamNumbers& n, Root root) {
  const float denominator = root(second * n.correction2) + n.epsilon;
  return first * n.correction1 / denominator + n.decoupled_decay * value;
}

/// m = momentum * m + rate * trust * (g + decay * w);  w -= m.
struct LarsRule {
  float momentum = 0, decay = 0;
  double trust = 0, epsilon = 0;
};
/// Trust of a slot that decays, from the norms of its values and of its summed gradients.
[[nodiscard]] constexpr double lars_ratio(double weights, double summed, float scale, const LarsRule& rule) {
  const double gradients = summed * scale;
  if (weights == 0 || gradients == 0) return 1.0;
  return rule.trust * weights / (gradients + static_cast<double>(rule.decay) * weights + rule.epsilon);
}
struct LarsNumbers {
  float rate, scale, momentum, decay;
};
[[nodiscard]] constexpr LarsNumbers lars_numbers(const LarsRule& rule, const StepScalars& scalars,
                                                 double ratio, bool decays) {
  return {scalars.rate * static_cast<float>(decays ? ratio : 1.0),
          scalars.gradient_scale * scalars.clip_factor, rule.momentum, decays ? rule.decay : 0.0f};
}
[[gnu::always_inline]] constexpr inline float lars_element(float value, float gradient, float& momentum,
                                                           const LarsNumbers& n) {
  const float d = gradient * n.scale + n.decay * value;
  momentum = n.momentum * momentum + n.rate * d;
  return value - momentum;
}

/// LAMB moves by rate * ratio along Adam's direction.
[[nodiscard]] constexpr float lamb_ratio(double weights, double length, bool decays) {
  return static_cast<float>(decays && weights > 0 && length > 0 ? weights / length : 1.0);
}

}  // namespace lockstep::trainer
