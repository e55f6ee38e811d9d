// Operations that move or add elements: add, concat, flatten, the parameter-free shortcut of ResNet, resize.
#include <algorithm>
#include <array>

#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class AddKernel final : public ReferenceKernel<T> {
 public:
  AddKernel(const Add&, const KernelRequest& request) : ReferenceKernel<T>(request) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool in_place() const override { return true; }
  [[nodiscard]] bool gradient_in_place(int) const override { return true; }

 private:
  void compute() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) this->y()[i] = this->x(0)[i] + this->x(1)[i];
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) {
      this->dx(0)[i] += this->dy()[i];
      this->dx(1)[i] += this->dy()[i];
    }
  }
};

template <class T>
class FlattenKernel final : public ReferenceKernel<T> {
 public:
  FlattenKernel(const Flatten&, const KernelRequest& request) : ReferenceKernel<T>(request) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool in_place() const override { return true; }

 private:
  void compute() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) this->y()[i] = this->x()[i];
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) this->dx()[i] += this->dy()[i];
  }
};

template <class T>
class ConcatKernel final : public ReferenceKernel<T> {
 public:
  ConcatKernel(const Concat&, const KernelRequest& request) : ReferenceKernel<T>(request) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  /// Calls each(input, element of the input, element of the output).
  template <class Each>
  void for_each(Each each) {
    const std::int64_t samples = this->output_shape()[0];
    const std::int64_t whole = this->output_shape().count() / samples;
    std::int64_t first = 0;
    for (int input = 0; input < this->input_count(); ++input) {
      const std::int64_t part = this->shape(input).count() / samples;
      for (std::int64_t i = 0; i < part * samples; ++i) each(input, i, i / part * whole + first + i % part);
      first += part;
    }
  }
  void compute() override {
    for_each([&](int input, auto from, auto to) { this->y()[to] = this->x(input)[from]; });
  }
  void differentiate() override {
    for_each([&](int input, auto from, auto to) { this->dx(input)[from] += this->dy()[to]; });
  }
};

template <class T>
class ShortcutAKernel final : public ReferenceKernel<T> {
 public:
  ShortcutAKernel(const ShortcutA& op, const KernelRequest& request) : ReferenceKernel<T>(request), op_(op) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  /// Calls each(output element, input element), with input -1 for a padded channel.
  template <class Each>
  void for_each(Each each) {
    const Shape &in = this->shape(), &out = this->output_shape();
    const std::int64_t pad = (out[1] - in[1]) / 2;
    for (std::int64_t i = 0; i < out.count(); ++i) {
      const std::int64_t col = i % out[3] * op_.stride;
      const std::int64_t row = i / out[3] % out[2] * op_.stride;
      const std::int64_t channel = i / (out[2] * out[3]) % out[1] - pad;
      const std::int64_t sample = i / (out[1] * out[2] * out[3]);
      const bool inside = channel >= 0 && channel < in[1];
      each(i, inside ? ((sample * in[1] + channel) * in[2] + row) * in[3] + col : -1);
    }
  }
  void compute() override {
    for_each([&](auto out, auto in) { this->y()[out] = in < 0 ? T{0} : this->x()[in]; });
  }
  void differentiate() override {
    for_each([&](auto out, auto in) {
      if (in >= 0) this->dx()[in] += this->dy()[out];
    });
  }

  ShortcutA op_;
};

/// Bilinear with half-pixel centres: output o looks at input position (o + 1/2) / scale - 1/2, not below 0.
template <class T>
class ResizeKernel final : public ReferenceKernel<T> {
 public:
  ResizeKernel(const Resize& op, const KernelRequest& request) : ReferenceKernel<T>(request), op_(op) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  struct Blend {
    std::int64_t near, far;
    T far_weight;
  };
  [[nodiscard]] Blend blend(std::int64_t out, std::int64_t extent) const {
    const auto half = static_cast<T>(0.5);
    const T place = std::max((static_cast<T>(out) + half) / static_cast<T>(op_.scale) - half, T{0});
    const auto near = std::min(static_cast<std::int64_t>(place), extent - 1);
    return {near, std::min(near + 1, extent - 1), place - static_cast<T>(near)};
  }
  /// Calls each(output element, input element, weight): four taps per output.
  template <class Each>
  void for_each(Each each) {
    const Shape &in = this->shape(), &out = this->output_shape();
    for (std::int64_t i = 0; i < out.count(); ++i) {
      const Blend row = blend(i / out[3] % out[2], in[2]);
      const Blend col = blend(i % out[3], in[3]);
      const std::int64_t plane = i / (out[2] * out[3]) * in[2] * in[3];
      each(i, plane + row.near * in[3] + col.near, (1 - row.far_weight) * (1 - col.far_weight));
      each(i, plane + row.near * in[3] + col.far, (1 - row.far_weight) * col.far_weight);
      each(i, plane + row.far * in[3] + col.near, row.far_weight * (1 - col.far_weight));
      each(i, plane + row.far * in[3] + col.far, row.far_weight * col.far_weight);
    }
  }
  void compute() override {
    std::fill(this->y(), this->y() + this->output_shape().count(), T{0});
    for_each([&](auto out, auto in, T weight) { this->y()[out] += weight * this->x()[in]; });
  }
  void differentiate() override {
    for_each([&](auto out, auto in, T weight) { this->dx()[in] += weight * this->dy()[out]; });
  }

  Resize op_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(Add, AddKernel);
LOCKSTEP_REFERENCE_KERNEL(Flatten, FlattenKernel);
LOCKSTEP_REFERENCE_KERNEL(Concat, ConcatKernel);
LOCKSTEP_REFERENCE_KERNEL(ShortcutA, ShortcutAKernel);
LOCKSTEP_REFERENCE_KERNEL(Resize, ResizeKernel);

}  // namespace lockstep::models::reference
