// Pooling over windows of a plane, and over whole planes.
#include <algorithm>

#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

/// The part of a window that lies inside the plane.
struct Window {
  std::int64_t top, bottom, left, right;  ///< rows [top, bottom), columns [left, right)
  [[nodiscard]] std::int64_t count() const { return (bottom - top) * (right - left); }
};

template <class Op>
Window window_at(const Op& op, const Shape& in, std::int64_t row, std::int64_t col) {
  const std::int64_t top = row * op.stride[0] - op.padding[0];
  const std::int64_t left = col * op.stride[1] - op.padding[1];
  return {std::max<std::int64_t>(top, 0), std::min(top + op.kernel[0], in[2]),
          std::max<std::int64_t>(left, 0), std::min(left + op.kernel[1], in[3])};
}

/// Calls each(output element, first element of the input plane, window).
template <class Op, class Each>
void for_each_window(const Op& op, const Shape& in, const Shape& out, Each each) {
  for (std::int64_t i = 0; i < out.count(); ++i) {
    const std::int64_t col = i % out[3];
    const std::int64_t row = i / out[3] % out[2];
    const std::int64_t plane = i / (out[2] * out[3]);
    each(i, plane * in[2] * in[3], window_at(op, in, row, col));
  }
}

/// Calls each(offset in the plane) for the elements of a window, row by row.
template <class Each>
void for_each_element(const Window& window, std::int64_t width, Each each) {
  for (std::int64_t row = window.top; row < window.bottom; ++row) {
    for (std::int64_t col = window.left; col < window.right; ++col) each(row * width + col);
  }
}

/// Ties go to the first element; its place is saved for backward.
template <class T>
class MaxPoolKernel final : public ReferenceKernel<T> {
 public:
  MaxPoolKernel(const MaxPool& op, const KernelRequest& request) : ReferenceKernel<T>(request), op_(op) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(this->output_shape().count()) * sizeof(std::int64_t);
  }

 private:
  void compute() override {
    const T* x = this->x();
    for_each_window(op_, this->shape(), this->output_shape(),
                    [&](auto out, auto plane, const Window& window) {
                      std::int64_t best = plane + window.top * this->shape()[3] + window.left;
                      for_each_element(window, this->shape()[3], [&](auto offset) {
                        if (x[plane + offset] > x[best]) best = plane + offset;
                      });
                      this->y()[out] = x[best];
                      this->template saved<std::int64_t>()[out] = best;
                    });
  }
  void differentiate() override {
    const std::int64_t* places = this->template saved<std::int64_t>();
    for (std::int64_t i = 0; i < this->output_shape().count(); ++i) this->dx()[places[i]] += this->dy()[i];
  }

  MaxPool op_;
};

template <class T>
class AveragePoolKernel final : public ReferenceKernel<T> {
 public:
  AveragePoolKernel(const AveragePool& op, const KernelRequest& request)
      : ReferenceKernel<T>(request), op_(op) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  [[nodiscard]] T divisor(const Window& window) const {
    return static_cast<T>(op_.count_padding ? op_.kernel[0] * op_.kernel[1] : window.count());
  }
  void compute() override {
    for_each_window(
        op_, this->shape(), this->output_shape(), [&](auto out, auto plane, const Window& window) {
          T sum = 0;
          for_each_element(window, this->shape()[3], [&](auto offset) { sum += this->x()[plane + offset]; });
          this->y()[out] = sum / divisor(window);
        });
  }
  void differentiate() override {
    for_each_window(op_, this->shape(), this->output_shape(),
                    [&](auto out, auto plane, const Window& window) {
                      const T part = this->dy()[out] / divisor(window);
                      for_each_element(window, this->shape()[3],
                                       [&](auto offset) { this->dx()[plane + offset] += part; });
                    });
  }

  AveragePool op_;
};

template <class T>
class GlobalAveragePoolKernel final : public ReferenceKernel<T> {
 public:
  GlobalAveragePoolKernel(const GlobalAveragePool&, const KernelRequest& request)
      : ReferenceKernel<T>(request), plane_(this->shape()[2] * this->shape()[3]) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void compute() override {
    for (std::int64_t out = 0; out < this->output_shape().count(); ++out) {
      T sum = 0;
      for (std::int64_t i = 0; i < plane_; ++i) sum += this->x()[out * plane_ + i];
      this->y()[out] = sum / static_cast<T>(plane_);
    }
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) {
      this->dx()[i] += this->dy()[i / plane_] / static_cast<T>(plane_);
    }
  }

  std::int64_t plane_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(MaxPool, MaxPoolKernel);
LOCKSTEP_REFERENCE_KERNEL(AveragePool, AveragePoolKernel);
LOCKSTEP_REFERENCE_KERNEL(GlobalAveragePool, GlobalAveragePoolKernel);

}  // namespace lockstep::models::reference
