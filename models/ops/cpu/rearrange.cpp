// Operations that only move elements: flatten, concatenation along channels, option-A shortcuts; and the sum
// of two tensors.
#include <algorithm>
#include <cstring>

#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

/// Elements move without arithmetic in either direction.
class MoveKernel : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
};

template <class T>
void transpose(const T* from, T* to, std::int64_t rows, std::int64_t columns, bool add) {
  for (std::int64_t column = 0; column < columns; ++column)
    for (std::int64_t row = 0; row < rows; ++row) {
      T& target = to[column * rows + row];
      const T value = from[row * columns + column];
      target = add ? T(static_cast<float>(target) + static_cast<float>(value)) : value;
    }
}

/// Channels-last images become dense rows; a view when the orders agree.
template <class T>
class FlattenKernel final : public MoveKernel {
 public:
  explicit FlattenKernel(const Site& site)
      : MoveKernel(site),
        view_(image_order(site.input()) == nullptr),
        images_(site.input()[0]),
        channels_(view_ ? 1 : site.input()[1]),
        pixels_(site.input().count() / std::max<std::int64_t>(images_ * channels_, 1)) {}
  [[nodiscard]] bool in_place() const override { return view_; }

 private:
  void run_forward(const Pass&) override {
    if (view_ && in<T>() == out<T>()) return;
    move(in<T>(), out<T>(), pixels_, channels_, false);
  }
  void run_backward(const Pass&) override {
    if (in_gradient<T>() == nullptr || (view_ && in_gradient<T>() == out_gradient<T>())) return;
    move(out_gradient<T>(), in_gradient<T>(), channels_, pixels_, adds());
  }
  void move(const T* from, T* to, std::int64_t rows, std::int64_t columns, bool add) const {
    if (view_) return store(from, to, images_ * pixels_, add, threads());
    const std::int64_t count = rows * columns;
    parallel_for(threads(), images_,
                 [&](std::int64_t n) { transpose(from + n * count, to + n * count, rows, columns, add); });
  }
  bool view_;
  std::int64_t images_, channels_, pixels_;
};

template <class T>
class AddKernel final : public MoveKernel {
 public:
  explicit AddKernel(const Site& site) : MoveKernel(site), count_(site.input().count()) {}
  [[nodiscard]] bool in_place() const override { return true; }

 private:
  void run_forward(const Pass&) override {
    if (in<T>() != out<T>()) store(in<T>(), out<T>(), count_, false, threads());
    store(in<T>(1), out<T>(), count_, true, threads());
  }
  void run_backward(const Pass&) override {
    for (std::size_t i = 0; i < 2; ++i) {
      // x + x may find the gradient of x already in place, and adds it once more.
      const bool there = in_gradient<T>(i) == out_gradient<T>() && !adds(i);
      if (in_gradient<T>(i) == nullptr || there) continue;
      store(out_gradient<T>(), in_gradient<T>(i), count_, adds(i), threads());
    }
  }
  std::int64_t count_;
};

/// Rows of the output are the inputs' rows one after another.
template <class T>
class ConcatKernel final : public MoveKernel {
 public:
  explicit ConcatKernel(const Site& site) : MoveKernel(site), out_(joined_rows(site.output())) {
    for (const TensorLayout& input : site.request.inputs) widths_.push_back(joined_rows(input.shape).width);
  }

 private:
  /// Images join pixel by pixel, other tensors sample by sample.
  static Rows joined_rows(const Shape& shape) {
    if (shape.rank() == 4) return rows_of(shape);
    return {shape[0], shape[0] == 0 ? 0 : shape.count() / shape[0]};
  }
  void run_forward(const Pass&) override {
    for_parts([&](std::size_t i, std::int64_t row, std::int64_t at) {
      std::memcpy(out<T>() + at, in<T>(i) + row * widths_[i],
                  static_cast<std::size_t>(widths_[i]) * sizeof(T));
    });
  }
  void run_backward(const Pass&) override {
    for_parts([&](std::size_t i, std::int64_t row, std::int64_t at) {
      if (in_gradient<T>(i) == nullptr) return;
      store(out_gradient<T>() + at, in_gradient<T>(i) + row * widths_[i], widths_[i], adds(i), 1);
    });
  }
  template <class Body>
  void for_parts(const Body& body) const {
    parallel_for(threads(), out_.count, [&](std::int64_t row) {
      std::int64_t at = row * out_.width;
      for (std::size_t i = 0; i < widths_.size(); at += widths_[i], ++i) body(i, row, at);
    });
  }
  Rows out_;
  std::vector<std::int64_t> widths_;
};

/// He et al. 2016, option A: every stride-th pixel, with zero channels on both sides.
template <class T>
class ShortcutKernel final : public MoveKernel {
 public:
  explicit ShortcutKernel(const Site& site)
      : MoveKernel(site),
        in_(site.input()),
        out_(site.output()),
        stride_(std::get<ShortcutA>(site.request.node->spec).stride),
        side_((out_[1] - in_[1]) / 2) {}

 private:
  void run_forward(const Pass&) override {
    std::fill(out<T>(), out<T>() + out_.count(), T(0.0F));
    for_pixels([&](std::int64_t from, std::int64_t to) {
      std::memcpy(out<T>() + to, in<T>() + from, static_cast<std::size_t>(in_[1]) * sizeof(T));
    });
  }
  void run_backward(const Pass&) override {
    if (in_gradient<T>() == nullptr) return;
    if (!adds()) std::fill(in_gradient<T>(), in_gradient<T>() + in_.count(), T(0.0F));
    for_pixels([&](std::int64_t from, std::int64_t to) {
      store(out_gradient<T>() + to, in_gradient<T>() + from, in_[1], true, 1);
    });
  }
  /// body(first input element, first output element) of every kept pixel.
  template <class Body>
  void for_pixels(const Body& body) const {
    parallel_for(threads(), out_[0], [&](std::int64_t n) {
      for (std::int64_t row = 0; row < out_[2]; ++row)
        for (std::int64_t column = 0; column < out_[3]; ++column)
          body(((n * in_[2] + row * stride_) * in_[3] + column * stride_) * in_[1],
               ((n * out_[2] + row) * out_[3] + column) * out_[1] + side_);
    });
  }
  Shape in_, out_;
  std::int64_t stride_, side_;
};

}  // namespace

std::unique_ptr<Kernel> make_flatten(const Site& site) { return make_typed<FlattenKernel>(site); }
std::unique_ptr<Kernel> make_add(const Site& site) { return make_typed<AddKernel>(site); }
std::unique_ptr<Kernel> make_concat(const Site& site) { return make_typed<ConcatKernel>(site); }
std::unique_ptr<Kernel> make_shortcut_a(const Site& site) { return make_typed<ShortcutKernel>(site); }

}  // namespace lockstep::models::cpu
