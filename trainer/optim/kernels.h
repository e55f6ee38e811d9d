// The update loops of the optimizers over one slot on the host. g is the gradient times `scale` (gradient
// scale times clip factor).
#pragma once

#include <cstdint>
#include <span>

namespace lockstep::trainer {

/// The arrays of one slot.
struct SlotArrays {
  std::span<float> values;
  std::span<const float> gradients;
  std::span<float> first;   ///< momentum
  std::span<float> second;  ///< second moment; empty when the optimizer has none
};

struct SgdNumbers {
  float rate, scale, momentum;
  float coupled_decay, decoupled_decay;
  bool nesterov;
  bool decay_only = false;  ///< momentum of coupled * w alone: g has its own
};
/// d = g + coupled * w;  m = momentum * m + d;  w -= rate * (nesterov ? d + momentum * m : m) + rate *
/// decoupled * w.
void sgd_update(const SlotArrays& slot, const SgdNumbers& numbers);

struct AdamNumbers {
  float rate, scale, beta1, beta2;
  float correction1, correction2;  ///< 1 / (1 - beta^t)
  float epsilon, decoupled_decay, coupled_decay;
};
/// d = g + coupled * w;  m, v = moments of d;  w -= rate * (m' / (sqrt(v') + epsilon) + decoupled * w).
void adam_update(const SlotArrays& slot, const AdamNumbers& numbers);
/// Moments as adam_update; update = m' / (sqrt(v') + epsilon) + decoupled * w, written out, values untouched
/// (LAMB).
void adam_direction(const SlotArrays& slot, const AdamNumbers& numbers, std::span<float> update);

/// Euclidean norm in double, in a fixed order.
[[nodiscard]] double norm(std::span<const float> values);

}  // namespace lockstep::trainer
