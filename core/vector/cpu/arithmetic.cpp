// fill, sum, axpy and scale on the host. `out` may be an operand itself, so the loops promise the compiler
// only that elements do not depend on each other (ivdep).
#include <algorithm>
#include <cstdint>
#include <functional>
#include <type_traits>

#include "core/cpu_dispatch.h"
#include "core/vector/cpu/cpu_kernels.h"
#include "core/vector/cpu/dtypes.h"

namespace lockstep::vector {

namespace {

LOCKSTEP_HOT_LOOP void sum_f32(const float* left, const float* right, float* out, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) out[i] = left[i] + right[i];
}

/// Adds in float and rounds once.
template <class Half>
inline void sum_halves(const Half* left, const Half* right, Half* out, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) out[i] = rounded<Half>(widened(left[i]) + widened(right[i]));
}
LOCKSTEP_HOT_LOOP void sum_bf16(const Bf16* left, const Bf16* right, Bf16* out, std::int64_t count) {
  sum_halves(left, right, out, count);
}
LOCKSTEP_HOT_LOOP void sum_f16(const F16* left, const F16* right, F16* out, std::int64_t count) {
  sum_halves(left, right, out, count);
}

template <class T>
void sum(const T* left, const T* right, T* out, std::int64_t count) {
  if constexpr (std::is_same_v<T, float>) {
    sum_f32(left, right, out, count);
  } else if constexpr (std::is_same_v<T, Bf16>) {
    sum_bf16(left, right, out, count);
  } else if constexpr (std::is_same_v<T, F16>) {
    sum_f16(left, right, out, count);
  } else if constexpr (std::is_integral_v<T>) {
    using Wrapping = std::make_unsigned_t<T>;
    const auto wrap = [](T a, T b) {
      return static_cast<T>(static_cast<Wrapping>(a) + static_cast<Wrapping>(b));
    };
    std::transform(left, left + count, right, out, wrap);
  } else {
    std::transform(left, left + count, right, out, std::plus<>());
  }
}

LOCKSTEP_HOT_LOOP void axpy_f32(float factor, const float* x, float* y, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) y[i] = y[i] + factor * x[i];
}

LOCKSTEP_HOT_LOOP void scale_f32(float factor, float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = factor * x[i];
}

}  // namespace

void cpu_fill(FlatSpan x, float value, Stream& stream) {
  stream.host([x, value] {
    with_dtype(x.dtype, [&]<class T>(T* /*tag*/) {
      const std::span<T> elements = x.as<T>();
      std::fill(elements.begin(), elements.end(), static_cast<T>(value));
    });
  });
}

void sum_now(FlatSpan left, FlatSpan right, FlatSpan out) {
  with_summable_dtype(out.dtype, [&]<class T>(T* /*tag*/) {
    sum(left.as<T>().data(), right.as<T>().data(), out.as<T>().data(), out.count);
  });
}

void cpu_sum(FlatSpan left, FlatSpan right, FlatSpan out, Stream& stream) {
  stream.host([left, right, out] { sum_now(left, right, out); });
}

void cpu_axpy(float factor, FlatSpan x, FlatSpan y, Stream& stream) {
  stream.host([=] { axpy_f32(factor, x.as<float>().data(), y.as<float>().data(), y.count); });
}

void cpu_scale(float factor, FlatSpan x, Stream& stream) {
  stream.host([=] { scale_f32(factor, x.as<float>().data(), x.count); });
}

}  // namespace lockstep::vector
