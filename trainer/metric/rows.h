// One row per metric, defined in its own file; registry.cpp lists them.
#pragma once

#include "trainer/metric/metric.h"

namespace lockstep::trainer {

extern const Registry<Metric>::Row kAccuracy, kPerplexity, kRmse, kIou;

/// Sum of the losses and number of rows that count, which every metric reports as "loss".
class LossSums {
 public:
  void add(const Evaluated& batch);
  [[nodiscard]] double sum() const noexcept { return sum_; }
  [[nodiscard]] double count() const noexcept { return count_; }

 private:
  double sum_ = 0;
  double count_ = 0;
};

}  // namespace lockstep::trainer
