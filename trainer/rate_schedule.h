// The learning rate as a function of the step: a warm-up from 0 to the peak, then a decay shape. The peak may
// be scaled with the global batch (Goyal et al., "Accurate, Large Minibatch SGD", 2017: linear; Krizhevsky,
// 2014: square root).
#pragma once

#include <cstdint>
#include <memory>

#include "core/options.h"
#include "core/registry.h"

namespace lockstep::trainer {

/// The shape after warm-up: a factor of the peak.
class RateShape {
 public:
  virtual ~RateShape() = default;
  /// `step` steps of `steps` after warm-up are done.
  [[nodiscard]] virtual double factor(std::int64_t step, std::int64_t steps) const = 0;
};

/// constant, step, cosine, linear.
[[nodiscard]] const Registry<RateShape>& rate_shapes();

/// Settings of section "rate": peak, warm-up, scaling rule.
[[nodiscard]] std::span<const Setting> rate_settings();

class RateSchedule {
 public:
  /// Scales the peak for `global_batch`; `steps` is the whole training, warm-up included.
  RateSchedule(const Options& settings, std::unique_ptr<RateShape> shape, std::int64_t global_batch,
               std::int64_t steps);
  /// The rate of update number `step` (from 0). A pure function: resuming needs no state.
  [[nodiscard]] float at(std::int64_t step) const;
  [[nodiscard]] double peak() const noexcept { return peak_; }

 private:
  std::unique_ptr<RateShape> shape_;
  double peak_ = 0;
  double start_factor_ = 0;
  std::int64_t warmup_ = 0;
  std::int64_t steps_ = 0;
};

}  // namespace lockstep::trainer
