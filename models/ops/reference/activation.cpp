// Element-wise functions.
#include <cmath>
#include <numbers>

#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

/// y = max(x, 0). Backward reads y, so that y may take the place of x.
template <class T>
class ReluKernel final : public ReferenceKernel<T> {
 public:
  ReluKernel(const Relu&, const KernelRequest& request) : ReferenceKernel<T>(request) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool in_place() const override { return true; }

 private:
  void compute() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i)
      this->y()[i] = this->x()[i] > 0 ? this->x()[i] : T{0};
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i)
      this->dx()[i] += this->y()[i] > 0 ? this->dy()[i] : T{0};
  }
};

template <class T>
class LeakyReluKernel final : public ReferenceKernel<T> {
 public:
  LeakyReluKernel(const LeakyRelu& op, const KernelRequest& request)
      : ReferenceKernel<T>(request), slope_(static_cast<T>(op.slope)) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  [[nodiscard]] T slope(std::int64_t i) const { return this->x()[i] > 0 ? T{1} : slope_; }
  void compute() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) this->y()[i] = slope(i) * this->x()[i];
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) this->dx()[i] += slope(i) * this->dy()[i];
  }

  T slope_;
};

/// x Phi(x), exactly by erf: value and slope (Hendrycks & Gimpel 2016).
template <class T>
struct GeluExact {
  static T value(T x) { return x * (1 + std::erf(x / std::numbers::sqrt2_v<T>)) / 2; }
  static T slope(T x) {
    const T density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi_v<T> / std::numbers::sqrt2_v<T>;
    return (1 + std::erf(x / std::numbers::sqrt2_v<T>)) / 2 + x * density;
  }
};

/// x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3): the paper's approximation, used by GPT-2.
template <class T>
struct GeluTanh {
  static constexpr T kScale = std::numbers::sqrt2_v<T> * std::numbers::inv_sqrtpi_v<T>;
  static constexpr T kCubic = static_cast<T>(0.044715L);
  static T value(T x) { return x * (1 + std::tanh(kScale * (x + kCubic * x * x * x))) / 2; }
  static T slope(T x) {
    const T t = std::tanh(kScale * (x + kCubic * x * x * x));
    return (1 + t) / 2 + x * (1 - t * t) * kScale * (1 + 3 * kCubic * x * x) / 2;
  }
};

template <class T>
class GeluKernel final : public ReferenceKernel<T> {
 public:
  GeluKernel(const Gelu& op, const KernelRequest& request) : ReferenceKernel<T>(request), tanh_(op.tanh) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void compute() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) {
      const T x = this->x()[i];
      this->y()[i] = tanh_ ? GeluTanh<T>::value(x) : GeluExact<T>::value(x);
    }
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) {
      const T x = this->x()[i];
      this->dx()[i] += this->dy()[i] * (tanh_ ? GeluTanh<T>::slope(x) : GeluExact<T>::slope(x));
    }
  }

  bool tanh_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(Relu, ReluKernel);
LOCKSTEP_REFERENCE_KERNEL(LeakyRelu, LeakyReluKernel);
LOCKSTEP_REFERENCE_KERNEL(Gelu, GeluKernel);

}  // namespace lockstep::models::reference
