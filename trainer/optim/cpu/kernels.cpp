#include "trainer/optim/kernels.h"

#include <cmath>
#include <cstddef>

#include "core/cpu_dispatch.h"

namespace lockstep::trainer {

namespace {

/// What an Adam step does with one element: new moments in place, the direction returned.
[[gnu::always_inline]] inline float adam_element(float value, float gradient, float& first, float& second,
                                                 const AdamNumbers& n) {
  const float d = gradient * n.scale + n.coupled_decay * value;
  first = n.beta1 * first + (1.0f - n.beta1) * d;
  second = n.beta2 * second + (1.0f - n.beta2) * (d * d);
  const float denominator = std::sqrt(second * n.correction2) + n.epsilon;
  return first * n.correction1 / denominator + n.decoupled_decay * value;
}

}  // namespace

LOCKSTEP_HOT_LOOP
void sgd_update(const SlotArrays& slot, const SgdNumbers& n) {
  float* const values = slot.values.data();
  const float* const gradients = slot.gradients.data();
  float* const momenta = slot.first.data();
  const std::size_t count = slot.values.size();
  const float nesterov = n.nesterov ? 1.0f : 0.0f;
  const float keep = n.nesterov ? n.momentum : 1.0f;
  // The gradient's share inside and outside the momentum.
  const float inside = n.decay_only ? 0.0f : n.scale;
  const float outside = n.decay_only ? n.scale : 0.0f;
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    const float d = gradients[i] * inside + n.coupled_decay * values[i];
    const float m = n.momentum * momenta[i] + d;
    momenta[i] = m;
    values[i] -=
        n.rate * (nesterov * d + keep * m + gradients[i] * outside) + n.rate * n.decoupled_decay * values[i];
  }
}

LOCKSTEP_HOT_LOOP
void adam_update(const SlotArrays& slot, const AdamNumbers& n) {
  float* const values = slot.values.data();
  const float* const gradients = slot.gradients.data();
  float* const first = slot.first.data();
  float* const second = slot.second.data();
  const std::size_t count = slot.values.size();
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    values[i] -= n.rate * adam_element(values[i], gradients[i], first[i], second[i], n);
  }
}

LOCKSTEP_HOT_LOOP
void adam_direction(const SlotArrays& slot, const AdamNumbers& n, std::span<float> update) {
  float* const first = slot.first.data();
  float* const second = slot.second.data();
  const float* const values = slot.values.data();
  const float* const gradients = slot.gradients.data();
  float* const direction = update.data();
  const std::size_t count = slot.values.size();
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    direction[i] = adam_element(values[i], gradients[i], first[i], second[i], n);
  }
}

double norm(std::span<const float> values) {
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double x = values[i + lane];
      lanes[lane] += x * x;
    }
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  for (; i < values.size(); ++i) sum += static_cast<double>(values[i]) * values[i];
  return std::sqrt(sum);
}

}  // namespace lockstep::trainer
