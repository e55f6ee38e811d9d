// y = x W^T + b over the last axis, also with the tied weight of an embedding.
#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class LinearKernel : public ReferenceKernel<T> {
 public:
  LinearKernel(const Linear& op, const KernelRequest& request)
      : ReferenceKernel<T>(request),
        in_(this->shape()[this->shape().rank() - 1]),
        out_(this->output_shape()[this->shape().rank() - 1]),
        rows_(this->shape().count() / in_),
        bias_(op.bias) {}
  LinearKernel(const TiedLinear&, const KernelRequest& request)
      : LinearKernel(Linear{.out_features = 0, .bias = false}, request) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void compute() override {
    const T* w = this->parameter(0);
    for (std::int64_t row = 0; row < rows_; ++row) {
      const T* x = this->x() + row * in_;
      for (std::int64_t o = 0; o < out_; ++o) {
        T sum = bias_ ? this->parameter(1)[o] : T{0};
        for (std::int64_t i = 0; i < in_; ++i) sum += x[i] * w[o * in_ + i];
        this->y()[row * out_ + o] = sum;
      }
    }
  }
  void differentiate() override {
    const T* w = this->parameter(0);
    T* dw = this->parameter_gradient(0);
    for (std::int64_t row = 0; row < rows_; ++row) {
      const T* x = this->x() + row * in_;
      T* dx = this->dx() + row * in_;
      for (std::int64_t o = 0; o < out_; ++o) {
        const T dy = this->dy()[row * out_ + o];
        for (std::int64_t i = 0; i < in_; ++i) {
          dx[i] += dy * w[o * in_ + i];
          dw[o * in_ + i] += dy * x[i];
        }
        if (bias_) this->parameter_gradient(1)[o] += dy;
      }
    }
  }

  std::int64_t in_, out_, rows_;
  bool bias_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(Linear, LinearKernel);
LOCKSTEP_REFERENCE_KERNEL(TiedLinear, LinearKernel);

}  // namespace lockstep::models::reference
