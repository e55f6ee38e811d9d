#include "models/ops/cpu/batch_norm_loops.h"

#include <algorithm>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"

namespace lockstep::models::cpu {
namespace {

constexpr std::int64_t kWideRow = 64;  ///< columns that keep vectors full
constexpr std::int64_t kBlockElements = 16384;

/// One block as `whole` wide rows and a last one of `rest` columns.
struct Span {
  std::int64_t first, whole, rest;
};
Span span_of(const Folded& f, std::int64_t block) {
  const std::int64_t rows = f.blocks.size(block);
  return {f.blocks.first(block) * f.channels, rows / f.fold, rows % f.fold * f.channels};
}

template <class T>
LOCKSTEP_INLINE void add_moments(const T* x, std::int64_t width, const float* origin, float* __restrict sums,
                                 float* __restrict squares) {
  for (std::int64_t c = 0; c < width; ++c) {
    const float d = widen(x[c]) - origin[c];
    sums[c] += d;
    squares[c] += d * d;
  }
}

template <class T>
LOCKSTEP_HOT_LOOP void moments_block(const T* x, const Span& s, std::int64_t width, const float* origin,
                                     float* __restrict sums, float* __restrict squares) {
  std::int64_t row = 0;
  for (; row + 4 <= s.whole; row += 4, x += 4 * width) {
    for (std::int64_t c = 0; c < width; ++c) {
      const float d0 = widen(x[c]) - origin[c];
      const float d1 = widen(x[c + width]) - origin[c];
      const float d2 = widen(x[c + 2 * width]) - origin[c];
      const float d3 = widen(x[c + 3 * width]) - origin[c];
      sums[c] += (d0 + d1) + (d2 + d3);
      squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
  for (; row < s.whole; ++row, x += width) add_moments(x, width, origin, sums, squares);
  add_moments(x, s.rest, origin, sums, squares);
}

template <class T, bool kRelu, bool kResidual>
LOCKSTEP_INLINE void normalise_row(const Normalise<T>& a, std::int64_t at, std::int64_t width) {
  const T* x = a.x + at;
  const T* residual = a.residual + at;
  T* y = a.y + at;
  const float* scale = a.scale;
  const float* shift = a.shift;
#pragma GCC ivdep
  for (std::int64_t c = 0; c < width; ++c) {
    float v = scale[c] * widen(x[c]) + shift[c];
    if constexpr (kResidual) v += widen(residual[c]);
    if constexpr (kRelu) v = v > 0 ? v : 0;
    y[c] = narrow<T>(v);
  }
}

template <class T, bool kRelu, bool kResidual>
LOCKSTEP_HOT_LOOP void normalise_block(const Normalise<T>& a, const Span& s, std::int64_t width) {
  std::int64_t at = s.first;
  for (std::int64_t row = 0; row < s.whole; ++row, at += width)
    normalise_row<T, kRelu, kResidual>(a, at, width);
  normalise_row<T, kRelu, kResidual>(a, at, s.rest);
}

/// How backward knows where the ReLU was open.
enum class Mask { none, input, output };

/// The gradient behind the ReLU.
template <class T, Mask kMask>
LOCKSTEP_INLINE float masked(float dy, float x, const T* y, std::int64_t c, float scale, float shift) {
  if constexpr (kMask == Mask::input) return scale * x + shift > 0 ? dy : 0;
  if constexpr (kMask == Mask::output) return widen(y[c]) > 0 ? dy : 0;
  return dy;
}

template <class T, Mask kMask>
LOCKSTEP_INLINE void sum_row(const BatchNormBackward<T>& b, std::int64_t at, std::int64_t width,
                             float* __restrict sums, float* __restrict products) {
  const T* x = b.x + at;
  const T* y = b.y + at;
  T* dy = b.dy + at;
  const float* mean = b.mean;
  const float* scale = b.scale;
  const float* shift = b.shift;
#pragma GCC ivdep
  for (std::int64_t c = 0; c < width; ++c) {
    const float value = widen(x[c]);
    const float d = masked<T, kMask>(widen(dy[c]), value, y, c, scale[c], shift[c]);
    if constexpr (kMask == Mask::output) dy[c] = narrow<T>(d);
    sums[c] += d;
    products[c] += d * (value - mean[c]);
  }
}

template <class T, Mask kMask>
LOCKSTEP_HOT_LOOP void sums_block(const BatchNormBackward<T>& b, const Span& s, std::int64_t width,
                                  float* __restrict sums, float* __restrict products) {
  std::int64_t at = s.first;
  for (std::int64_t row = 0; row < s.whole; ++row, at += width)
    sum_row<T, kMask>(b, at, width, sums, products);
  sum_row<T, kMask>(b, at, s.rest, sums, products);
}

/// Masks again only where the first pass did not write the mask back.
template <class T, Mask kMask, bool kAdd>
LOCKSTEP_INLINE void input_row(const BatchNormBackward<T>& b, const BatchNormInput<T>& to, std::int64_t at,
                               std::int64_t width) {
  const T* x = b.x + at;
  const T* dy = b.dy + at;
  T* dx = to.dx + at;
  const float *mean = b.mean, *scale = b.scale, *shift = b.shift, *slope = to.slope, *offset = to.offset;
#pragma GCC ivdep
  for (std::int64_t c = 0; c < width; ++c) {
    const float value = widen(x[c]);
    const float d = masked<T, kMask>(widen(dy[c]), value, nullptr, c, scale[c], shift[c]);
    const float g = scale[c] * d - slope[c] * (value - mean[c]) - offset[c];
    dx[c] = narrow<T>(kAdd ? widen(dx[c]) + g : g);
  }
}

template <class T, Mask kMask, bool kAdd>
LOCKSTEP_HOT_LOOP void input_block(const BatchNormBackward<T>& b, const BatchNormInput<T>& to, const Span& s,
                                   std::int64_t width) {
  std::int64_t at = s.first;
  for (std::int64_t row = 0; row < s.whole; ++row, at += width) input_row<T, kMask, kAdd>(b, to, at, width);
  input_row<T, kMask, kAdd>(b, to, at, s.rest);
}

std::int64_t fold_of(std::int64_t channels) { return std::max<std::int64_t>(kWideRow / channels, 1); }

/// Blocks of whole wide rows: the length is rounded up to a multiple of the fold.
Cut blocks_of(const Rows& rows) {
  const std::int64_t fold = fold_of(rows.width);
  Cut blocks = cut(rows.count, kBlockElements / rows.width + 1);
  const std::int64_t length = (blocks.length + fold - 1) / fold * fold;
  return {rows.count, length, (rows.count + length - 1) / length};
}

}  // namespace

Folded::Folded(const Rows& r)
    : rows(r.count), channels(r.width), fold(fold_of(r.width)), blocks(blocks_of(r)) {}

template <class T>
void moments(const T* x, const Folded& f, std::int64_t block, const float* origin, float* sums,
             float* squares) {
  const Span s = span_of(f, block);
  std::fill(sums, sums + f.width(), 0.0F);
  std::fill(squares, squares + f.width(), 0.0F);
  moments_block(x + s.first, s, f.width(), origin, sums, squares);
}

template <class T>
void normalise(const Normalise<T>& a, const Folded& f, std::int64_t block) {
  const Span s = span_of(f, block);
  if (a.residual != nullptr)
    a.relu ? normalise_block<T, true, true>(a, s, f.width())
           : normalise_block<T, false, true>(a, s, f.width());
  else
    a.relu ? normalise_block<T, true, false>(a, s, f.width())
           : normalise_block<T, false, false>(a, s, f.width());
}

template <class T>
void gradient_sums(const BatchNormBackward<T>& b, const Folded& f, std::int64_t block, float* sums,
                   float* products) {
  const Span s = span_of(f, block);
  std::fill(sums, sums + f.width(), 0.0F);
  std::fill(products, products + f.width(), 0.0F);
  if (!b.relu)
    sums_block<T, Mask::none>(b, s, f.width(), sums, products);
  else if (b.y != nullptr)
    sums_block<T, Mask::output>(b, s, f.width(), sums, products);
  else
    sums_block<T, Mask::input>(b, s, f.width(), sums, products);
}

template <class T>
void input_gradient(const BatchNormBackward<T>& b, const BatchNormInput<T>& to, const Folded& f,
                    std::int64_t block) {
  const Span s = span_of(f, block);
  if (b.relu && b.y == nullptr)
    to.add ? input_block<T, Mask::input, true>(b, to, s, f.width())
           : input_block<T, Mask::input, false>(b, to, s, f.width());
  else
    to.add ? input_block<T, Mask::none, true>(b, to, s, f.width())
           : input_block<T, Mask::none, false>(b, to, s, f.width());
}

#define LOCKSTEP_BATCH_NORM(T)                                                                              \
  template void moments<T>(const T*, const Folded&, std::int64_t, const float*, float*, float*);            \
  template void normalise<T>(const Normalise<T>&, const Folded&, std::int64_t);                             \
  template void gradient_sums<T>(const BatchNormBackward<T>&, const Folded&, std::int64_t, float*, float*); \
  template void input_gradient<T>(const BatchNormBackward<T>&, const BatchNormInput<T>&, const Folded&,     \
                                  std::int64_t);
LOCKSTEP_BATCH_NORM(float)
LOCKSTEP_BATCH_NORM(Bf16)
#undef LOCKSTEP_BATCH_NORM

}  // namespace lockstep::models::cpu
