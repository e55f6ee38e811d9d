// Max, average and global average pooling over channels-last images: every window position is a row of
// channels, so the inner loops are plain vectors. Max pooling remembers the winner's position in its window.
#include <algorithm>
#include <limits>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"

namespace lockstep::models::cpu {
namespace {

struct Window {
  std::int64_t height, width, out_height, out_width, channels;
  Pair kernel, stride, padding;
  bool count_padding = true;
  std::int64_t images = 0;

  /// First and last + 1 input row (axis 0) or column of output place `i`, clipped to the image.
  struct Range {
    std::int64_t first, last;
  };
  [[nodiscard]] Range clip(std::size_t axis, std::int64_t i) const {
    const std::int64_t from = i * stride[axis] - padding[axis];
    return {std::max<std::int64_t>(from, 0), std::min(from + kernel[axis], axis == 0 ? height : width)};
  }
  [[nodiscard]] std::int64_t in_count() const { return height * width * channels; }
  [[nodiscard]] std::int64_t out_count() const { return out_height * out_width * channels; }
  /// The divisor of an average: padding counts as long as it lies within the padded image.
  [[nodiscard]] float divisor(std::int64_t row, std::int64_t column) const {
    const std::int64_t bottom = std::min(row * stride[0] - padding[0] + kernel[0], height + padding[0]);
    const std::int64_t right = std::min(column * stride[1] - padding[1] + kernel[1], width + padding[1]);
    const Range y = clip(0, row);
    const Range x = clip(1, column);
    const std::int64_t covered = (y.last - y.first) * (x.last - x.first);
    const std::int64_t whole =
        (bottom - (row * stride[0] - padding[0])) * (right - (column * stride[1] - padding[1]));
    return static_cast<float>(count_padding ? whole : std::max<std::int64_t>(covered, 1));
  }
};

template <class Pool>
Window window_of(const Pool& op, const Shape& in, const Shape& out) {
  Window w{in[2], in[3], out[2], out[3], in[1], op.kernel, op.stride, op.padding};
  w.images = in[0];
  if constexpr (std::is_same_v<Pool, AveragePool>) w.count_padding = op.count_padding;
  return w;
}

/// Calls body(output place, input place, position in the window) for every covered input of every output.
template <class Body>
LOCKSTEP_INLINE void visit(const Window& w, const Body& body) {
  for (std::int64_t row = 0; row < w.out_height; ++row) {
    const auto y = w.clip(0, row);
    for (std::int64_t column = 0; column < w.out_width; ++column) {
      const auto x = w.clip(1, column);
      const std::int64_t corner =
          (row * w.stride[0] - w.padding[0]) * w.kernel[1] + column * w.stride[1] - w.padding[1];
      const std::int64_t to = (row * w.out_width + column) * w.channels;
      for (std::int64_t i = y.first; i < y.last; ++i)
        for (std::int64_t j = x.first; j < x.last; ++j)
          body(to, (i * w.width + j) * w.channels, i * w.kernel[1] + j - corner);
    }
  }
}

template <class T>
LOCKSTEP_HOT_LOOP void max_image(const Window& w, const T* x, T* y, std::uint16_t* winner) {
  std::fill(winner, winner + w.out_count(), std::uint16_t{0xffff});
  visit(
      w, [&](std::int64_t to, std::int64_t from, std::int64_t position) __attribute__((always_inline)) {
#pragma GCC ivdep
        for (std::int64_t c = 0; c < w.channels; ++c) {
          const bool wins = winner[to + c] == 0xffff || widen(x[from + c]) > widen(y[to + c]) ||
                            widen(x[from + c]) != widen(x[from + c]);
          y[to + c] = wins ? x[from + c] : y[to + c];
          winner[to + c] = wins ? static_cast<std::uint16_t>(position) : winner[to + c];
        }
      });
}

template <class T>
LOCKSTEP_HOT_LOOP void max_image_backward(const Window& w, const T* dy, const std::uint16_t* winner, T* dx) {
  visit(
      w, [&](std::int64_t to, std::int64_t from, std::int64_t position) __attribute__((always_inline)) {
#pragma GCC ivdep
        for (std::int64_t c = 0; c < w.channels; ++c) {
          const float d = winner[to + c] == position ? widen(dy[to + c]) : 0.0F;
          dx[from + c] = narrow<T>(widen(dx[from + c]) + d);
        }
      });
}

/// Sums in f32 scratch of one output row would be needed for bf16; windows are small, so f32 per place does.
template <class T>
LOCKSTEP_HOT_LOOP void average_image(const Window& w, const T* x, T* y, float* sums) {
  std::fill(sums, sums + w.out_count(), 0.0F);
  visit(
      w, [&](std::int64_t to, std::int64_t from, std::int64_t) __attribute__((always_inline)) {
#pragma GCC ivdep
        for (std::int64_t c = 0; c < w.channels; ++c) sums[to + c] += widen(x[from + c]);
      });
  for (std::int64_t place = 0; place < w.out_height * w.out_width; ++place) {
    const float divisor = w.divisor(place / w.out_width, place % w.out_width);
    for (std::int64_t c = 0; c < w.channels; ++c)
      y[place * w.channels + c] = narrow<T>(sums[place * w.channels + c] / divisor);
  }
}

template <class T>
LOCKSTEP_HOT_LOOP void average_image_backward(const Window& w, const T* dy, T* dx) {
  visit(
      w, [&](std::int64_t to, std::int64_t from, std::int64_t) __attribute__((always_inline)) {
        const std::int64_t place = to / w.channels;
        const float share = 1.0F / w.divisor(place / w.out_width, place % w.out_width);
#pragma GCC ivdep
        for (std::int64_t c = 0; c < w.channels; ++c)
          dx[from + c] = narrow<T>(widen(dx[from + c]) + widen(dy[to + c]) * share);
      });
}

template <class T>
class PoolKernel : public CpuKernel {
 public:
  PoolKernel(const Site& site, const Window& window) : CpuKernel(site), window_(window) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 protected:
  template <class Body>
  void for_images(const Body& body) const {
    parallel_for(threads(), window_.images, body);
  }
  [[nodiscard]] T* cleared_gradient(std::int64_t image) const {
    T* dx = in_gradient<T>() + image * window_.in_count();
    if (!adds()) std::fill(dx, dx + window_.in_count(), T(0.0F));
    return dx;
  }
  Window window_;
};

template <class T>
class MaxPoolKernel final : public PoolKernel<T> {
 public:
  explicit MaxPoolKernel(const Site& site)
      : PoolKernel<T>(site,
                      window_of(std::get<MaxPool>(site.request.node->spec), site.input(), site.output())) {}
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(w().images * w().out_count()) * sizeof(std::uint16_t);
  }

 private:
  [[nodiscard]] const Window& w() const { return this->window_; }
  [[nodiscard]] std::uint16_t* winner(std::int64_t image) const {
    return this->template saved<std::uint16_t>() + image * w().out_count();
  }
  void run_forward(const Pass&) override {
    this->for_images([&](std::int64_t n) {
      max_image(w(), this->template in<T>() + n * w().in_count(),
                this->template out<T>() + n * w().out_count(), winner(n));
    });
  }
  void run_backward(const Pass&) override {
    if (this->template in_gradient<T>() == nullptr) return;
    this->for_images([&](std::int64_t n) {
      max_image_backward(w(), this->template out_gradient<T>() + n * w().out_count(), winner(n),
                         this->cleared_gradient(n));
    });
  }
};

template <class T>
class AveragePoolKernel final : public PoolKernel<T> {
 public:
  AveragePoolKernel(const Site& site, const Window& window) : PoolKernel<T>(site, window) {}
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return float_bytes(this->window_.images * this->window_.out_count());
  }

 private:
  void run_forward(const Pass&) override {
    const Window& w = this->window_;
    this->for_images([&](std::int64_t n) {
      average_image(w, this->template in<T>() + n * w.in_count(), this->template out<T>() + n * w.out_count(),
                    this->template workspace<float>() + n * w.out_count());
    });
  }
  void run_backward(const Pass&) override {
    if (this->template in_gradient<T>() == nullptr) return;
    const Window& w = this->window_;
    this->for_images([&](std::int64_t n) {
      average_image_backward(w, this->template out_gradient<T>() + n * w.out_count(),
                             this->cleared_gradient(n));
    });
  }
};

/// One window that covers the image.
Window global_window(const Shape& in) {
  Window w{in[2], in[3], 1, 1, in[1], {in[2], in[3]}, {in[2], in[3]}, {0, 0}};
  w.images = in[0];
  return w;
}

}  // namespace

std::unique_ptr<Kernel> make_max_pool(const Site& site) { return make_typed<MaxPoolKernel>(site); }

std::unique_ptr<Kernel> make_average_pool(const Site& site) {
  const auto& op = std::get<AveragePool>(site.request.node->spec);
  return make_typed<AveragePoolKernel>(site, window_of(op, site.input(), site.output()));
}

std::unique_ptr<Kernel> make_global_pool(const Site& site) {
  return make_typed<AveragePoolKernel>(site, global_window(site.input()));
}

}  // namespace lockstep::models::cpu
