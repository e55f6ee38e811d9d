// Layer norm (Ba et al. 2016) over the last axis: y = w (x - mean) / sqrt(var + eps) + b.
#include <cmath>

#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class LayerNormKernel final : public ReferenceKernel<T> {
 public:
  LayerNormKernel(const LayerNorm& op, const KernelRequest& request)
      : ReferenceKernel<T>(request),
        epsilon_(static_cast<T>(op.epsilon)),
        width_(this->shape()[this->shape().rank() - 1]),
        rows_(this->shape().count() / width_) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  struct Moments {
    T mean, inverse_deviation;
  };
  Moments moments(const T* x) const {
    T mean = 0;
    T variance = 0;
    for (std::int64_t i = 0; i < width_; ++i) mean += x[i];
    mean /= static_cast<T>(width_);
    for (std::int64_t i = 0; i < width_; ++i) variance += (x[i] - mean) * (x[i] - mean);
    return {mean, 1 / std::sqrt(variance / static_cast<T>(width_) + epsilon_)};
  }

  void compute() override {
    const T *w = this->parameter(0), *b = this->parameter(1);
    for (std::int64_t row = 0; row < rows_; ++row) {
      const T* x = this->x() + row * width_;
      const auto [mean, inverse] = moments(x);
      for (std::int64_t i = 0; i < width_; ++i) {
        this->y()[row * width_ + i] = (x[i] - mean) * inverse * w[i] + b[i];
      }
    }
  }

  /// With g = dy w: dx = (g - mean(g) - xhat mean(g xhat)) / deviation.
  void differentiate() override {
    for (std::int64_t row = 0; row < rows_; ++row) differentiate_row(row * width_);
  }
  void differentiate_row(std::int64_t first) {
    const T *x = this->x() + first, *dy = this->dy() + first, *w = this->parameter(0);
    const auto [mean, inverse] = moments(x);
    T mean_gradient = 0;
    T mean_product = 0;
    for (std::int64_t i = 0; i < width_; ++i) {
      const T normal = (x[i] - mean) * inverse;
      this->parameter_gradient(0)[i] += dy[i] * normal;
      this->parameter_gradient(1)[i] += dy[i];
      mean_gradient += dy[i] * w[i] / static_cast<T>(width_);
      mean_product += dy[i] * w[i] * normal / static_cast<T>(width_);
    }
    for (std::int64_t i = 0; i < width_; ++i) {
      const T normal = (x[i] - mean) * inverse;
      this->dx()[first + i] += inverse * (dy[i] * w[i] - mean_gradient - normal * mean_product);
    }
  }

  T epsilon_;
  std::int64_t width_, rows_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(LayerNorm, LayerNormKernel);

}  // namespace lockstep::models::reference
