// The loops of batch norm over channels-last rows. Narrow rows are folded: `fold` rows of C channels are
// treated as one row of fold * C columns, with the per-channel coefficients repeated, so that vectors stay
// full at any channel count.
#pragma once

#include <cstdint>

#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/storage.h"

namespace lockstep::models::cpu {

struct Folded {
  std::int64_t rows;  ///< N * H * W
  std::int64_t channels;
  std::int64_t fold;  ///< rows per wide row
  Cut blocks;         ///< of rows; every block but the last is whole wide rows

  explicit Folded(const Rows& rows);
  [[nodiscard]] std::int64_t width() const { return channels * fold; }
};

/// Per-column sums of one block: sum of (x - origin) and of (x - origin)^2. `origin` and the results have
/// width() columns.
template <class T>
void moments(const T* x, const Folded& f, std::int64_t block, const float* origin, float* sums,
             float* squares);

/// What normalising needs, per column.
template <class T>
struct Normalise {
  const T* x;
  const T* residual;  ///< added before the ReLU, or null
  T* y;
  const float *scale, *shift;
  bool relu;
};
template <class T>
void normalise(const Normalise<T>& a, const Folded& f, std::int64_t block);

/// Backward: dy is masked by the ReLU (from y when there is a residual, else from scale * x + shift), then
/// summed.
template <class T>
struct BatchNormBackward {
  const T* x;
  const T* y;  ///< null: no residual
  T* dy;       ///< masked in place when y is given
  const float *mean, *scale, *shift;
  bool relu;
};
/// Per-column sums of dy and of dy * (x - mean).
template <class T>
void gradient_sums(const BatchNormBackward<T>& b, const Folded& f, std::int64_t block, float* sums,
                   float* products);
/// dx (+)= scale * dy - slope * (x - mean) - offset.
template <class T>
struct BatchNormInput {
  T* dx;
  bool add;
  const float *slope, *offset;
};
template <class T>
void input_gradient(const BatchNormBackward<T>& b, const BatchNormInput<T>& to, const Folded& f,
                    std::int64_t block);

}  // namespace lockstep::models::cpu
