#include "models/ops/cpu/rowwise.h"

#include <algorithm>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/parallel.h"

namespace lockstep::models::cpu {
namespace {

constexpr std::int64_t kGrain = 16384;      ///< elements that are worth a task of their own
constexpr float kGeluLinear = 1.59576912F;  ///< 2 sqrt(2 / pi)
constexpr float kGeluCubic = 0.044715F * kGeluLinear;
constexpr float kLog2E = 1.44269504F;
constexpr float kInverseSqrt2 = 0.70710678F;
constexpr float kInverseSqrt2Pi = 0.39894228F;

/// An activation's value and its derivative; loops that use one of them pay for one.
struct Point {
  float value, slope;
};

/// x (1 + tanh(u)) / 2 = x / (1 + exp(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3): fewer operations, and
/// no digits lost where the tanh is near -1.
LOCKSTEP_INLINE Point gelu_tanh(float x) {
  const float square = x * x;
  const float share = 1.0F / (1.0F + fast_exp2(-x * (kGeluLinear * kLog2E + kGeluCubic * kLog2E * square)));
  const float inner = x * (kGeluLinear + 3.0F * kGeluCubic * square);
  return {x * share, share + share * (1.0F - share) * inner};
}

LOCKSTEP_INLINE Point gelu_exact(float x) {
  const float u = x * kInverseSqrt2;
  const float e = fast_exp(-u * u);
  const float erf = fast_erf(u, e);
  return {0.5F * x * (1.0F + erf), 0.5F * (1.0F + erf) + x * kInverseSqrt2Pi * e};
}

/// `x` may be the activation's output for the ReLUs: the slope is the same.
template <Activation A>
LOCKSTEP_INLINE Point at(float x, float slope) {
  if constexpr (A == Activation::relu) return {x > 0 ? x : 0, x > 0 ? 1.0F : 0.0F};
  if constexpr (A == Activation::leaky_relu) return {x > 0 ? x : slope * x, x > 0 ? 1.0F : slope};
  if constexpr (A == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (A == Activation::gelu_exact) return gelu_exact(x);
  return {x, 1.0F};
}

template <class T>
LOCKSTEP_HOT_LOOP void sum_block(const T* x, std::int64_t rows, std::int64_t width, float* __restrict sums) {
  std::fill(sums, sums + width, 0.0F);
  std::int64_t row = 0;
  for (; row + 4 <= rows; row += 4, x += 4 * width)
    for (std::int64_t c = 0; c < width; ++c)
      sums[c] += (widen(x[c]) + widen(x[c + width])) + (widen(x[c + 2 * width]) + widen(x[c + 3 * width]));
  for (; row < rows; ++row, x += width)
    for (std::int64_t c = 0; c < width; ++c) sums[c] += widen(x[c]);
}

template <class From, class To, bool kAdd>
LOCKSTEP_HOT_LOOP void store_block(const From* x, To* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = narrow<To>(kAdd ? widen(y[i]) + widen(x[i]) : widen(x[i]));
}

template <class T, Activation A>
LOCKSTEP_HOT_LOOP void bias_in_place(T* x, const float* bias, std::int64_t rows, std::int64_t width,
                                     float slope) {
  for (std::int64_t row = 0; row < rows; ++row, x += width) {
#pragma GCC ivdep
    for (std::int64_t c = 0; c < width; ++c)
      x[c] = narrow<T>(at<A>(bias != nullptr ? widen(x[c]) + bias[c] : widen(x[c]), slope).value);
  }
}

template <class T, Activation A>
LOCKSTEP_HOT_LOOP void bias_rows(const Affine<T>& a, std::int64_t rows, std::int64_t width, float slope) {
  const float* x = a.x;
  const float* bias = a.bias;
  T* y = a.y;
  T* slopes = a.slopes;
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    if (slopes != nullptr) {
#pragma GCC ivdep
      for (std::int64_t c = 0; c < width; ++c) {
        const Point point = at<A>(bias != nullptr ? x[c] + bias[c] : x[c], slope);
        slopes[c] = narrow<T>(point.slope);
        y[c] = narrow<T>(point.value);
      }
      slopes += width;
    } else {
#pragma GCC ivdep
      for (std::int64_t c = 0; c < width; ++c)
        y[c] = narrow<T>(at<A>(bias != nullptr ? x[c] + bias[c] : x[c], slope).value);
    }
  }
}

template <class T>
LOCKSTEP_HOT_LOOP void residual_rows(const Residual<T>& r, std::int64_t rows, std::int64_t width) {
  const float* x = r.x;
  const float* bias = r.bias;
  const T* residual = r.residual;
  T* y = r.y;
  for (std::int64_t row = 0; row < rows; ++row, x += width, residual += width, y += width) {
#pragma GCC ivdep
    for (std::int64_t c = 0; c < width; ++c)
      y[c] = narrow<T>((bias != nullptr ? x[c] + bias[c] : x[c]) + widen(residual[c]));
  }
}

template <class T>
LOCKSTEP_HOT_LOOP void scale_block(const T* slopes, T* gradient, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) gradient[i] = narrow<T>(widen(gradient[i]) * widen(slopes[i]));
}

template <class T, Activation A>
LOCKSTEP_HOT_LOOP void apply_block(const T* x, T* y, std::int64_t count, float slope) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) y[i] = narrow<T>(at<A>(widen(x[i]), slope).value);
}

template <class T, Activation A, bool kAdd>
LOCKSTEP_HOT_LOOP void gradient_block(const ActivationBackward<T>& b, std::int64_t first, std::int64_t count,
                                      float slope) {
  const T* kept = b.kept + first;
  const T* dy = b.dy + first;
  T* dx = b.dx + first;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = widen(dy[i]) * at<A>(widen(kept[i]), slope).slope;
    dx[i] = narrow<T>(kAdd ? widen(dx[i]) + d : d);
  }
}

/// Calls body with the activation as a compile-time value.
template <class Body>
void with(Activation activation, const Body& body) {
  using enum Activation;
  switch (activation) {
    case none:
      return body(std::integral_constant<Activation, none>{});
    case relu:
      return body(std::integral_constant<Activation, relu>{});
    case leaky_relu:
      return body(std::integral_constant<Activation, leaky_relu>{});
    case gelu_tanh:
      return body(std::integral_constant<Activation, gelu_tanh>{});
    case gelu_exact:
      return body(std::integral_constant<Activation, gelu_exact>{});
  }
}

Cut row_cut(const Rows& rows) { return cut(rows.count, kGrain / std::max<std::int64_t>(rows.width, 1) + 1); }

}  // namespace

std::size_t column_sums_bytes(const Rows& rows) { return float_bytes(row_cut(rows).pieces * rows.width); }

namespace {

/// sums (+)= the rows of sums of each block, in order.
void add_blocks(const float* partial, const Cut& blocks, std::int64_t width, float* sums, bool add) {
  if (!add) std::fill(sums, sums + width, 0.0F);
  for (std::int64_t i = 0; i < blocks.pieces; ++i)
    store_block<float, float, true>(partial + i * width, sums, width);
}

}  // namespace

template <class T>
void column_sums(const T* x, const Rows& rows, float* sums, bool add, float* scratch, int threads) {
  const Cut blocks = row_cut(rows);
  parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
    sum_block(x + blocks.first(i) * rows.width, blocks.size(i), rows.width, scratch + i * rows.width);
  });
  add_blocks(scratch, blocks, rows.width, sums, add);
}

template <class T>
void scale_rows(const Scaling<T>& s, const Rows& rows, int threads) {
  const Cut blocks = row_cut(rows);
  parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
    const std::int64_t at = blocks.first(i) * rows.width;
    scale_block(s.slopes + at, s.x + at, blocks.size(i) * rows.width);
    if (s.sums != nullptr) sum_block(s.x + at, blocks.size(i), rows.width, s.scratch + i * rows.width);
  });
  if (s.sums != nullptr) add_blocks(s.scratch, blocks, rows.width, s.sums, s.add);
}

template <class T>
void bias_activation(const Affine<T>& a, const Rows& rows, const Epilogue& epilogue, int threads) {
  const Cut blocks = row_cut(rows);
  with(epilogue.activation, [&](auto activation) {
    parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
      const std::int64_t at = blocks.first(i) * rows.width;
      bias_rows<T, activation()>({a.x + at, a.slopes != nullptr ? a.slopes + at : nullptr, a.y + at, a.bias},
                                 blocks.size(i), rows.width, epilogue.slope);
    });
  });
}

template <class T>
void bias_residual(const Residual<T>& r, const Rows& rows, int threads) {
  const Cut blocks = row_cut(rows);
  parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
    const std::int64_t at = blocks.first(i) * rows.width;
    residual_rows<T>({r.x + at, r.residual + at, r.y + at, r.bias}, blocks.size(i), rows.width);
  });
}

template <class T>
void bias_activation_in_place(T* x, const float* bias, const Rows& rows, const Epilogue& epilogue,
                              int threads) {
  if (bias == nullptr && epilogue.activation == Activation::none) return;
  const Cut blocks = row_cut(rows);
  with(epilogue.activation, [&](auto activation) {
    parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
      bias_in_place<T, activation()>(x + blocks.first(i) * rows.width, bias, blocks.size(i), rows.width,
                                     epilogue.slope);
    });
  });
}

template <class T>
void activate(const T* x, T* y, std::int64_t count, const Epilogue& epilogue, int threads) {
  const Cut blocks = cut(count, kGrain);
  with(epilogue.activation, [&](auto activation) {
    parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
      apply_block<T, activation()>(x + blocks.first(i), y + blocks.first(i), blocks.size(i), epilogue.slope);
    });
  });
}

template <class T>
void activate_backward(const ActivationBackward<T>& b, std::int64_t count, const Epilogue& epilogue,
                       int threads) {
  const Cut blocks = cut(count, kGrain);
  with(epilogue.activation, [&](auto activation) {
    parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
      if (b.add)
        gradient_block<T, activation(), true>(b, blocks.first(i), blocks.size(i), epilogue.slope);
      else
        gradient_block<T, activation(), false>(b, blocks.first(i), blocks.size(i), epilogue.slope);
    });
  });
}

template <class T>
void activation_gradient(const T* kept, T* gradient, std::int64_t count, const Epilogue& epilogue,
                         int threads) {
  if (epilogue.activation != Activation::none)
    activate_backward<T>({kept, gradient, gradient, false}, count, epilogue, threads);
}

template <class From, class To>
void store(const From* x, To* y, std::int64_t count, bool add, int threads) {
  const Cut blocks = cut(count, kGrain);
  parallel_for(threads, blocks.pieces, [&](std::int64_t i) {
    if (add)
      store_block<From, To, true>(x + blocks.first(i), y + blocks.first(i), blocks.size(i));
    else
      store_block<From, To, false>(x + blocks.first(i), y + blocks.first(i), blocks.size(i));
  });
}

#define LOCKSTEP_ROWWISE(T)                                                                       \
  template void column_sums<T>(const T*, const Rows&, float*, bool, float*, int);                 \
  template void bias_activation<T>(const Affine<T>&, const Rows&, const Epilogue&, int);          \
  template void bias_activation_in_place<T>(T*, const float*, const Rows&, const Epilogue&, int); \
  template void bias_residual<T>(const Residual<T>&, const Rows&, int);                           \
  template void scale_rows<T>(const Scaling<T>&, const Rows&, int);                               \
  template void activation_gradient<T>(const T*, T*, std::int64_t, const Epilogue&, int);         \
  template void activate<T>(const T*, T*, std::int64_t, const Epilogue&, int);                    \
  template void activate_backward<T>(const ActivationBackward<T>&, std::int64_t, const Epilogue&, int);
LOCKSTEP_ROWWISE(float)
LOCKSTEP_ROWWISE(Bf16)
#undef LOCKSTEP_ROWWISE
template void store<float, float>(const float*, float*, std::int64_t, bool, int);
template void store<float, Bf16>(const float*, Bf16*, std::int64_t, bool, int);
template void store<Bf16, float>(const Bf16*, float*, std::int64_t, bool, int);
template void store<Bf16, Bf16>(const Bf16*, Bf16*, std::int64_t, bool, int);

}  // namespace lockstep::models::cpu
