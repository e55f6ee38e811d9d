// Layer norm over the last axis (Ba et al. 2016): one pass per row with the row in cache. Parameter gradients
// are summed in fixed blocks of rows.
#include <algorithm>
#include <cmath>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

constexpr std::int64_t kBlockElements = 16384;

/// Mean and 1 / deviation of a row, as backward needs them.
struct RowStatistics {
  float mean, inverse;
};

template <class T>
struct Forward {
  const T* x;
  T* y;
  RowStatistics* statistics;
  const float *gamma, *beta;
};

template <class T>
LOCKSTEP_HOT_LOOP void normalise_rows(const Forward<T>& f, std::int64_t rows, std::int64_t width,
                                      float epsilon) {
  const T* x = f.x;
  T* y = f.y;
  const auto n = static_cast<float>(width);
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    const float mean =
        sum_of(
            width, [&](std::int64_t c) __attribute__((always_inline)) { return widen(x[c]); }) /
        n;
    const float squares = sum_of(
        width, [&](std::int64_t c) __attribute__((always_inline)) {
          const float d = widen(x[c]) - mean;
          return d * d;
        });
    const float inverse = 1.0F / std::sqrt(squares / n + epsilon);
    f.statistics[row] = {mean, inverse};
#pragma GCC ivdep
    for (std::int64_t c = 0; c < width; ++c)
      y[c] = narrow<T>((widen(x[c]) - mean) * inverse * f.gamma[c] + f.beta[c]);
  }
}

template <class T>
struct Backward {
  const T *x, *dy;
  T* dx;  ///< null: not wanted
  bool add;
  const RowStatistics* statistics;
  const float* gamma;
  float *gamma_sums, *beta_sums;  ///< of the block
};

/// dx (+)= inverse (g - mean(g) - xhat mean(g xhat)) with g = dy gamma.
template <class T, bool kAdd>
LOCKSTEP_INLINE void input_row(const Backward<T>& b, std::int64_t at, std::int64_t width, RowStatistics s) {
  const T* x = b.x + at;
  const T* dy = b.dy + at;
  T* dx = b.dx + at;
  const float* gamma = b.gamma;
  const auto n = static_cast<float>(width);
  const float mean_g =
      sum_of(
          width, [&](std::int64_t c) __attribute__((always_inline)) { return widen(dy[c]) * gamma[c]; }) /
      n;
  const float mean_gx = sum_of(
                            width,
                            [&](std::int64_t c) __attribute__((always_inline)) {
                              return widen(dy[c]) * gamma[c] * ((widen(x[c]) - s.mean) * s.inverse);
                            }) /
                        n;
#pragma GCC ivdep
  for (std::int64_t c = 0; c < width; ++c) {
    const float normal = (widen(x[c]) - s.mean) * s.inverse;
    const float d = s.inverse * (widen(dy[c]) * gamma[c] - mean_g - normal * mean_gx);
    dx[c] = narrow<T>(kAdd ? widen(dx[c]) + d : d);
  }
}

template <class T>
LOCKSTEP_HOT_LOOP void backward_rows(const Backward<T>& b, std::int64_t rows, std::int64_t width) {
  float* __restrict gamma_sums = b.gamma_sums;
  float* __restrict beta_sums = b.beta_sums;
  std::fill(gamma_sums, gamma_sums + width, 0.0F);
  std::fill(beta_sums, beta_sums + width, 0.0F);
  for (std::int64_t row = 0; row < rows; ++row) {
    const RowStatistics s = b.statistics[row];
    const T* x = b.x + row * width;
    const T* dy = b.dy + row * width;
    for (std::int64_t c = 0; c < width; ++c) {
      gamma_sums[c] += widen(dy[c]) * ((widen(x[c]) - s.mean) * s.inverse);
      beta_sums[c] += widen(dy[c]);
    }
    if (b.dx == nullptr) continue;
    b.add ? input_row<T, true>(b, row * width, width, s) : input_row<T, false>(b, row * width, width, s);
  }
}

template <class T>
class LayerNormKernel final : public CpuKernel {
 public:
  explicit LayerNormKernel(const Site& site)
      : CpuKernel(site),
        epsilon_(std::get<LayerNorm>(site.request.node->spec).epsilon),
        rows_(rows_of(site.input())),
        blocks_(cut(rows_.count, kBlockElements / rows_.width + 1)) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr, nullptr}; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(rows_.count) * sizeof(RowStatistics);
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return float_bytes(2 * blocks_.pieces * rows_.width);
  }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool gradient_in_place(int) const override { return true; }

 private:
  void run_forward(const Pass& pass) override {
    parallel_for(threads(), blocks_.pieces, [&](std::int64_t block) {
      const std::int64_t first = blocks_.first(block);
      const std::int64_t at = first * rows_.width;
      normalise_rows<T>({in<T>() + at, out<T>() + at, saved<RowStatistics>() + first, slot(pass.values, 0),
                         slot(pass.values, 1)},
                        blocks_.size(block), rows_.width, epsilon_);
    });
  }
  void run_backward(const Pass& pass) override {
    parallel_for(threads(), blocks_.pieces, [&](std::int64_t block) {
      const std::int64_t first = blocks_.first(block);
      const std::int64_t at = first * rows_.width;
      T* dx = in_gradient<T>();
      backward_rows<T>({in<T>() + at, out_gradient<T>() + at, dx == nullptr ? nullptr : dx + at, adds(),
                        saved<RowStatistics>() + first, slot(pass.values, 0), sums(block, 0), sums(block, 1)},
                       blocks_.size(block), rows_.width);
    });
    for (std::size_t i = 0; i < 2; ++i) {
      float* gradient = slot(pass.gradients, i);
      for (std::int64_t block = 0; block < blocks_.pieces; ++block)
        store(sums(block, static_cast<std::int64_t>(i)), gradient, rows_.width, pass.accumulate || block > 0,
              1);
    }
  }
  float* sums(std::int64_t block, std::int64_t i) const {
    return workspace<float>() + (2 * block + i) * rows_.width;
  }

  float epsilon_;
  Rows rows_;
  Cut blocks_;
};

}  // namespace

std::unique_ptr<Kernel> make_layer_norm(const Site& site) { return make_typed<LayerNormKernel>(site); }

}  // namespace lockstep::models::cpu
