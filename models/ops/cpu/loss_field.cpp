// Losses between fields, a row per sample: mean squared error and smooth L1. Targets are f32 whatever the
// compute dtype.
#include <algorithm>
#include <cmath>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"

namespace lockstep::models::cpu {
namespace {

struct Squared {
  LOCKSTEP_INLINE static float value(float d, float) { return d * d; }
  LOCKSTEP_INLINE static float slope(float d, float) { return 2 * d; }
};
/// Quadratic within beta, then linear (Girshick 2015).
struct Smooth {
  LOCKSTEP_INLINE static float value(float d, float beta) {
    const float size = std::fabs(d);
    return size < beta ? size * size / (2 * beta) : size - beta / 2;
  }
  LOCKSTEP_INLINE static float slope(float d, float beta) {
    const float s = d / beta;
    const float low = s < -1 ? -1 : s;
    return low > 1 ? 1 : low;
  }
};

template <class F, class T>
LOCKSTEP_HOT_LOOP float row_value(const T* x, const float* target, std::int64_t count, float beta) {
  return sum_of(
      count, [&](std::int64_t i)
                 __attribute__((always_inline)) { return F::value(widen(x[i]) - target[i], beta); });
}

/// Long rows are summed block by block, then in f64.
constexpr std::int64_t kBlock = 4096;
template <class F, class T>
float row_loss(const T* x, const float* target, std::int64_t count, float beta) {
  double sum = 0;
  for (std::int64_t at = 0; at < count; at += kBlock)
    sum += row_value<F>(x + at, target + at, std::min(kBlock, count - at), beta);
  return static_cast<float>(sum / static_cast<double>(count));
}

template <class F, class T, bool kAdd>
LOCKSTEP_HOT_LOOP void row_gradient(const T* x, const float* target, T* dx, std::int64_t count, float share,
                                    float beta) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = share * F::slope(widen(x[i]) - target[i], beta);
    dx[i] = narrow<T>(kAdd ? widen(dx[i]) + d : d);
  }
}

template <class F, class T>
class FieldLoss : public CpuKernel {
 public:
  FieldLoss(const Site& site, float beta)
      : CpuKernel(site, Dtype::f32),
        samples_(site.input()[0]),
        elements_(site.input().count() / site.input()[0]),
        beta_(beta) {}

 private:
  void run_forward(const Pass& pass) override {
    const std::int64_t counted = pass.rows < 0 ? samples_ : std::min(pass.rows, samples_);
    parallel_for(threads(), samples_, [&](std::int64_t n) {
      const std::int64_t at = n * elements_;
      out<float>()[n] =
          n < counted ? row_loss<F>(in<T>() + at, in<float>(1) + at, elements_, beta_) : kIgnoredRow;
    });
  }
  void run_backward(const Pass&) override {
    if (in_gradient<T>() == nullptr) return;
    const auto ignored = std::count(out<float>(), out<float>() + samples_, kIgnoredRow);
    const auto counted = static_cast<double>(std::max<std::int64_t>(samples_ - ignored, 1));
    const auto share = static_cast<float>(1 / (counted * static_cast<double>(elements_)));
    parallel_for(threads(), samples_, [&](std::int64_t n) { backward_row(n, share); });
  }
  void backward_row(std::int64_t n, float share) {
    const std::int64_t at = n * elements_;
    T* dx = in_gradient<T>() + at;
    const bool counts = out<float>()[n] != kIgnoredRow;
    if (!counts && !adds()) std::fill(dx, dx + elements_, T(0.0F));
    if (!counts) return;
    if (adds())
      row_gradient<F, T, true>(in<T>() + at, in<float>(1) + at, dx, elements_, share, beta_);
    else
      row_gradient<F, T, false>(in<T>() + at, in<float>(1) + at, dx, elements_, share, beta_);
  }
  std::int64_t samples_, elements_;
  float beta_;
};

template <class T>
using SquaredLoss = FieldLoss<Squared, T>;
template <class T>
using SmoothLoss = FieldLoss<Smooth, T>;

}  // namespace

std::unique_ptr<Kernel> make_mean_squared_error(const Site& site) {
  return make_typed<SquaredLoss>(site, 0.0F);
}

std::unique_ptr<Kernel> make_smooth_l1(const Site& site) {
  return make_typed<SmoothLoss>(site, std::get<SmoothL1>(site.request.node->spec).beta);
}

}  // namespace lockstep::models::cpu
