// Loops over rows of equal width that several kernels need: sums of columns (bias gradients), activations
// with a bias, adding results to gradients.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/storage.h"
#include "models/ops/epilogue.h"

namespace lockstep::models::cpu {

/// Scratch bytes that a sum of columns needs.
[[nodiscard]] std::size_t column_sums_bytes(const Rows& rows);
/// sums (+)= column sums of x, by fixed blocks of rows.
template <class T>
void column_sums(const T* x, const Rows& rows, float* sums, bool add, float* scratch, int threads);

/// y = activation(x + bias) per row; the arrays may be the same.
template <class T>
struct Affine {
  const float* x;  ///< the product, f32
  T* slopes;       ///< where activation'(x + bias) is stored for backward, or null
  T* y;
  const float* bias;  ///< or null
};
template <class T>
void bias_activation(const Affine<T>& a, const Rows& rows, const Epilogue& epilogue, int threads);

/// x = activation(x + bias) where the product already has the activations' dtype.
template <class T>
void bias_activation_in_place(T* x, const float* bias, const Rows& rows, const Epilogue& epilogue,
                              int threads);

/// y = x + bias + residual per row; the arrays may be the same.
template <class T>
struct Residual {
  const float* x;  ///< the product, f32
  const T* residual;
  T* y;
  const float* bias;  ///< or null
};
template <class T>
void bias_residual(const Residual<T>& r, const Rows& rows, int threads);

/// gradient = gradient * activation'(kept), in place; `kept` is the ReLUs' output.
template <class T>
void activation_gradient(const T* kept, T* gradient, std::int64_t count, const Epilogue& epilogue,
                         int threads);
/// x = x * slopes, in place: what bias_activation stored. And sums (+)= column sums of the new x, in the same
/// pass, unless null.
template <class T>
struct Scaling {
  const T* slopes;
  T* x;
  float* sums;
  bool add;
  float* scratch;  ///< column_sums_bytes()
};
template <class T>
void scale_rows(const Scaling<T>& s, const Rows& rows, int threads);

/// y = f(x) and dx (+)= dy * f'(x or y): the activations as kernels of their own.
template <class T>
void activate(const T* x, T* y, std::int64_t count, const Epilogue& epilogue, int threads);
template <class T>
struct ActivationBackward {
  const T* kept;
  const T* dy;
  T* dx;
  bool add;
};
template <class T>
void activate_backward(const ActivationBackward<T>& b, std::int64_t count, const Epilogue& epilogue,
                       int threads);

/// y (+)= x, converting.
template <class From, class To>
void store(const From* x, To* y, std::int64_t count, bool add, int threads);

}  // namespace lockstep::models::cpu
