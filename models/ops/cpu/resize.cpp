// Bilinear enlargement with half-pixel centres: every output pixel is a weighted sum of four input pixels,
// each a row of channels.
#include <algorithm>
#include <vector>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"

namespace lockstep::models::cpu {
namespace {

/// Where an output coordinate reads along one axis.
struct Tap {
  std::int64_t low, high;
  float high_share;
};

std::vector<Tap> taps_of(std::int64_t extent, std::int64_t scale) {
  std::vector<Tap> taps(static_cast<std::size_t>(extent * scale));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const float centre = (static_cast<float>(i) + 0.5F) / static_cast<float>(scale) - 0.5F;
    const float inside = std::max(centre, 0.0F);
    const auto low = std::min(static_cast<std::int64_t>(inside), extent - 1);
    taps[i] = {low, std::min(low + 1, extent - 1), inside - static_cast<float>(low)};
  }
  return taps;
}

/// One output pixel: four input pixels and their shares.
struct Corner {
  std::int64_t at[4];
  float share[4];
};

template <class T>
LOCKSTEP_HOT_LOOP void blend(const T* x, const Corner& c, T* y, std::int64_t channels) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < channels; ++i)
    y[i] = narrow<T>((c.share[0] * widen(x[c.at[0] + i]) + c.share[1] * widen(x[c.at[1] + i])) +
                     (c.share[2] * widen(x[c.at[2] + i]) + c.share[3] * widen(x[c.at[3] + i])));
}

template <class T>
LOCKSTEP_HOT_LOOP void spread(const T* dy, const Corner& c, float* dx, std::int64_t channels) {
  for (int corner = 0; corner < 4; ++corner)
    for (std::int64_t i = 0; i < channels; ++i) dx[c.at[corner] + i] += c.share[corner] * widen(dy[i]);
}

template <class T, bool kAdd>
LOCKSTEP_HOT_LOOP void put(const float* from, T* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = narrow<T>(kAdd ? widen(to[i]) + from[i] : from[i]);
}

template <class T>
class ResizeKernel final : public CpuKernel {
 public:
  explicit ResizeKernel(const Site& site)
      : CpuKernel(site),
        in_(site.input()),
        rows_(taps_of(in_[2], std::get<Resize>(site.request.node->spec).scale)),
        columns_(taps_of(in_[3], std::get<Resize>(site.request.node->spec).scale)) {}

  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  /// Gradients are gathered in f32.
  [[nodiscard]] std::size_t workspace_bytes() const override { return float_bytes(in_.count()); }

 private:
  [[nodiscard]] std::int64_t sample() const { return in_[1] * in_[2] * in_[3]; }
  [[nodiscard]] Corner corner(const Tap& row, const Tap& column) const {
    const auto pixel = [&](std::int64_t i, std::int64_t j) { return (i * in_[3] + j) * in_[1]; };
    const float down = row.high_share;
    const float right = column.high_share;
    return {{pixel(row.low, column.low), pixel(row.low, column.high), pixel(row.high, column.low),
             pixel(row.high, column.high)},
            {(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right}};
  }
  /// body(first element of the output pixel in its sample, corner).
  template <class Body>
  void for_pixels(const Body& body) const {
    std::int64_t to = 0;
    for (const Tap& row : rows_)
      for (const Tap& column : columns_) {
        body(to, corner(row, column));
        to += in_[1];
      }
  }
  [[nodiscard]] std::int64_t out_sample() const {
    return static_cast<std::int64_t>(rows_.size() * columns_.size()) * in_[1];
  }

  void run_forward(const Pass&) override {
    parallel_for(threads(), in_[0], [&](std::int64_t n) {
      const T* x = in<T>() + n * sample();
      T* y = out<T>() + n * out_sample();
      for_pixels([&](std::int64_t to, const Corner& c) { blend(x, c, y + to, in_[1]); });
    });
  }
  void run_backward(const Pass&) override {
    if (in_gradient<T>() == nullptr) return;
    parallel_for(threads(), in_[0], [&](std::int64_t n) {
      float* dx = workspace<float>() + n * sample();
      const T* dy = out_gradient<T>() + n * out_sample();
      std::fill(dx, dx + sample(), 0.0F);
      for_pixels([&](std::int64_t from, const Corner& c) { spread(dy + from, c, dx, in_[1]); });
      T* to = in_gradient<T>() + n * sample();
      adds() ? put<T, true>(dx, to, sample()) : put<T, false>(dx, to, sample());
    });
  }

  Shape in_;
  std::vector<Tap> rows_, columns_;
};

}  // namespace

std::unique_ptr<Kernel> make_resize(const Site& site) { return make_typed<ResizeKernel>(site); }

}  // namespace lockstep::models::cpu
