// Updates on the host: a task per step that walks the slots; loops are vector code.
#include "trainer/optim/updater.h"

#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "core/cpu_dispatch.h"
#include "core/vector/vector.h"
#include "trainer/cpu/kernels.h"

namespace lockstep::trainer {

namespace {

/// The arrays of one slot.
struct SlotArrays {
  std::span<float> values;
  std::span<const float> gradients;
  std::span<float> first, second;
};

struct Root {
  [[gnu::always_inline]] float operator()(float x) const { return std::sqrt(x); }
};

LOCKSTEP_HOT_LOOP
void sgd_loop(const SlotArrays& slot, const SgdNumbers& n) {
  float* const values = slot.values.data();
  const float* const gradients = slot.gradients.data();
  float* const momenta = slot.first.data();
  const std::size_t count = slot.values.size();
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) values[i] = sgd_element(values[i], gradients[i], momenta[i], n);
}

LOCKSTEP_HOT_LOOP
void adam_loop(const SlotArrays& slot, const AdamNumbers& n) {
  float* const values = slot.values.data();
  const float* const gradients = slot.gradients.data();
  float* const first = slot.first.data();
  float* const second = slot.second.data();
  const std::size_t count = slot.values.size();
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    adam_moments(values[i], gradients[i], first[i], second[i], n);
    values[i] -= n.rate * adam_direction(values[i], first[i], second[i], n, Root{});
  }
}

/// Moments as in Adam; its direction written out, values untouched.
LOCKSTEP_HOT_LOOP
void direction_loop(const SlotArrays& slot, const AdamNumbers& n, std::span<float> update) {
  float* const first = slot.first.data();
  float* const second = slot.second.data();
  const float* const values = slot.values.data();
  const float* const gradients = slot.gradients.data();
  float* const direction = update.data();
  const std::size_t count = slot.values.size();
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    adam_moments(values[i], gradients[i], first[i], second[i], n);
    direction[i] = adam_direction(values[i], first[i], second[i], n, Root{});
  }
}

/// Euclidean norm in double, in a fixed order.
double norm(std::span<const float> values) {
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double x = static_cast<double>(values[i + lane]);
      lanes[lane] += x * x;
    }
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  for (; i < values.size(); ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return std::sqrt(sum);
}

AdamNumbers numbers_of(const AdamRule& rule, const StepScalars& scalars, bool decays) {
  const auto t = static_cast<double>(scalars.step + 1);
  return adam_numbers(rule, scalars, std::pow(rule.beta1, t), std::pow(rule.beta2, t), decays);
}

class CpuUpdater final : public Updater {
 public:
  explicit CpuUpdater(const SlotLayout& layout) : layout_(layout) {}

  void sgd(const UpdateArrays& arrays, const SgdRule& rule, const StepScalars* scalars,
           Stream& stream) override {
    update(arrays, scalars, stream, [=](const Slot& slot, const SlotArrays& own) {
      sgd_loop(own, sgd_numbers(rule, *scalars, slot.decays));
    });
  }

  void adam(const UpdateArrays& arrays, const AdamRule& rule, const StepScalars* scalars,
            Stream& stream) override {
    update(arrays, scalars, stream, [=](const Slot& slot, const SlotArrays& own) {
      adam_loop(own, numbers_of(rule, *scalars, slot.decays));
    });
  }

  void lars(const UpdateArrays& arrays, const LarsRule& rule, const StepScalars* scalars,
            Stream& stream) override {
    update(arrays, scalars, stream, [=](const Slot& slot, const SlotArrays& own) {
      const float scale = scalars->gradient_scale * scalars->clip_factor;
      const double ratio = slot.decays ? lars_ratio(norm(own.values), norm(own.gradients), scale, rule) : 1.0;
      const LarsNumbers n = lars_numbers(rule, *scalars, ratio, slot.decays);
      for (std::size_t i = 0; i < own.values.size(); ++i)
        own.values[i] = lars_element(own.values[i], own.gradients[i], own.first[i], n);
    });
  }

  void lamb(const UpdateArrays& arrays, const AdamRule& rule, const StepScalars* scalars,
            Stream& stream) override {
    update(arrays, scalars, stream,
           [=, direction = std::vector<float>()](const Slot& slot, const SlotArrays& own) mutable {
             direction.resize(own.values.size());
             direction_loop(own, numbers_of(rule, *scalars, slot.decays), direction);
             const float rate = scalars->rate * lamb_ratio(norm(own.values), norm(direction), slot.decays);
             for (std::size_t i = 0; i < direction.size(); ++i) own.values[i] -= rate * direction[i];
           });
  }

 private:
  template <class UpdateSlot>
  void update(const UpdateArrays& arrays, const StepScalars* scalars, Stream& stream,
              UpdateSlot update_slot) {
    stream.host([this, arrays, scalars, update_slot]() mutable {
      if (scalars->skip != kSkipNone) return;
      for (const Slot& slot : layout_.slots()) update_slot(slot, arrays_of(slot, arrays));
    });
    if (arrays.working.count > 0) vector::cast(arrays.values, arrays.working, stream);
  }

  static SlotArrays arrays_of(const Slot& slot, const UpdateArrays& arrays) {
    const auto part = [&slot](FlatSpan array) {
      return array.count == 0 ? std::span<float>() : array.part(slot.offset, slot.stored_count).as<float>();
    };
    return {part(arrays.values), part(arrays.gradients), part(arrays.first), part(arrays.second)};
  }

  const SlotLayout& layout_;
};

}  // namespace

std::unique_ptr<Updater> make_cpu_updater(const SlotLayout& layout, Device /*device*/) {
  return std::make_unique<CpuUpdater>(layout);
}

}  // namespace lockstep::trainer
