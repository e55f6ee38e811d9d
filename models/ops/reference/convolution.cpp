// Convolution and its adjoint. A convolution is a set of taps: triples (output element, input element,
// weight). Forward, weight gradient and input gradient are the same loop over taps with the roles exchanged,
// and a transposed convolution is the convolution from its output to its input run backwards.
#include <algorithm>

#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

struct Geometry {
  Shape in, out;  ///< of the convolution
  Pair kernel, stride, padding, dilation;
  std::int64_t groups;
};

/// Calls tap(out, in, weight) with flat indices along one row of outputs: everything but the output column
/// and the kernel column is fixed by `out_row`, `in_row` and `weight_row`.
template <class Tap>
void taps_of_row(const Geometry& g, std::int64_t out_row, std::int64_t in_row, std::int64_t weight_row,
                 Tap& tap) {
  for (std::int64_t col = 0; col < g.out[3]; ++col) {
    for (std::int64_t k = 0; k < g.kernel[1]; ++k) {
      const std::int64_t in_col = col * g.stride[1] - g.padding[1] + k * g.dilation[1];
      if (in_col >= 0 && in_col < g.in[3]) tap(out_row + col, in_row + in_col, weight_row + k);
    }
  }
}

template <class Tap>
void taps_of_channels(const Geometry& g, std::int64_t sample, std::int64_t out_channel, std::int64_t depth,
                      Tap& tap) {
  const std::int64_t in_per_group = g.in[1] / g.groups;
  const std::int64_t in_channel = out_channel / (g.out[1] / g.groups) * in_per_group + depth;
  for (std::int64_t row = 0; row < g.out[2]; ++row) {
    for (std::int64_t k = 0; k < g.kernel[0]; ++k) {
      const std::int64_t in_row = row * g.stride[0] - g.padding[0] + k * g.dilation[0];
      if (in_row < 0 || in_row >= g.in[2]) continue;
      taps_of_row(g, ((sample * g.out[1] + out_channel) * g.out[2] + row) * g.out[3],
                  ((sample * g.in[1] + in_channel) * g.in[2] + in_row) * g.in[3],
                  ((out_channel * in_per_group + depth) * g.kernel[0] + k) * g.kernel[1], tap);
    }
  }
}

template <class Tap>
void for_each_tap(const Geometry& g, Tap tap) {
  for (std::int64_t sample = 0; sample < g.out[0]; ++sample) {
    for (std::int64_t channel = 0; channel < g.out[1]; ++channel) {
      for (std::int64_t depth = 0; depth < g.in[1] / g.groups; ++depth) {
        taps_of_channels(g, sample, channel, depth, tap);
      }
    }
  }
}

/// Calls each(element, channel) for every element of an image tensor.
template <class Each>
void for_each_channel(const Shape& image, Each each) {
  const std::int64_t plane = image[2] * image[3];
  for (std::int64_t i = 0; i < image.count(); ++i) each(i, i / plane % image[1]);
}

template <class T>
class ConvKernel final : public ReferenceKernel<T> {
 public:
  ConvKernel(const Conv2d& op, const KernelRequest& request)
      : ReferenceKernel<T>(request),
        geometry_{this->shape(), this->output_shape(), op.kernel, op.stride,
                  op.padding,    op.dilation,          op.groups},
        bias_(op.bias) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void compute() override {
    const T *x = this->x(), *w = this->parameter(0);
    T* y = this->y();
    for_each_channel(geometry_.out,
                     [&](auto i, auto channel) { y[i] = bias_ ? this->parameter(1)[channel] : T{0}; });
    for_each_tap(geometry_, [=](auto out, auto in, auto weight) { y[out] += w[weight] * x[in]; });
  }
  void differentiate() override {
    const T *x = this->x(), *w = this->parameter(0), *dy = this->dy();
    T *dx = this->dx(), *dw = this->parameter_gradient(0);
    for_each_tap(geometry_, [=](auto out, auto in, auto weight) {
      dx[in] += w[weight] * dy[out];
      dw[weight] += x[in] * dy[out];
    });
    if (!bias_) return;
    T* db = this->parameter_gradient(1);
    for_each_channel(geometry_.out, [&](auto i, auto channel) { db[channel] += dy[i]; });
  }

  Geometry geometry_;
  bool bias_;
};

template <class T>
class ConvTransposeKernel final : public ReferenceKernel<T> {
 public:
  ConvTransposeKernel(const ConvTranspose2d& op, const KernelRequest& request)
      : ReferenceKernel<T>(request),
        adjoint_{this->output_shape(), this->shape(), op.kernel, op.stride,
                 op.padding,           op.dilation,   op.groups},
        bias_(op.bias) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void compute() override {
    const T *x = this->x(), *w = this->parameter(0);
    T* y = this->y();
    for_each_channel(adjoint_.in,
                     [&](auto i, auto channel) { y[i] = bias_ ? this->parameter(1)[channel] : T{0}; });
    for_each_tap(adjoint_, [=](auto out, auto in, auto weight) { y[in] += w[weight] * x[out]; });
  }
  void differentiate() override {
    const T *x = this->x(), *w = this->parameter(0), *dy = this->dy();
    T *dx = this->dx(), *dw = this->parameter_gradient(0);
    for_each_tap(adjoint_, [=](auto out, auto in, auto weight) {
      dx[out] += w[weight] * dy[in];
      dw[weight] += x[out] * dy[in];
    });
    if (!bias_) return;
    T* db = this->parameter_gradient(1);
    for_each_channel(adjoint_.in, [&](auto i, auto channel) { db[channel] += dy[i]; });
  }

  Geometry adjoint_;  ///< `in` is our output, `out` our input
  bool bias_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(Conv2d, ConvKernel);
LOCKSTEP_REFERENCE_KERNEL(ConvTranspose2d, ConvTransposeKernel);

}  // namespace lockstep::models::reference
