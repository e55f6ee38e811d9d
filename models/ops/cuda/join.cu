// Operations that only move elements of images: concatenation along channels, option-A shortcuts.
#include <algorithm>
#include <variant>

#include "models/ops/cuda/image_walk.cuh"
#include "models/ops/cuda/kernels.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Elements move without arithmetic in either direction.
class MoveKernel : public CudaKernel {
 public:
  using CudaKernel::CudaKernel;
  [[nodiscard]] bool backward_needs_input(int) const final { return false; }
  [[nodiscard]] bool backward_needs_output() const final { return false; }
};

template <class T>
__device__ __forceinline__ void put(T* to, T value, bool add) {
  *to = add ? from_float<T>(to_float(*to) + to_float(value)) : value;
}

/// Copies `width` columns of every row between matrices with `from_width` and `to_width` columns.
template <class T, int kLot>
__global__ void columns_kernel(const T* from, std::int64_t from_width, T* to, std::int64_t to_width,
                               std::int64_t rows, std::int64_t width, bool add) {
  const std::int64_t lots = width / kLot;
  for (std::int64_t i = first_item(); i < rows * lots; i += stride()) {
    const std::int64_t row = i / lots, column = i % lots * kLot;
    auto lot = Lot<T, kLot>::load(from + row * from_width + column);
    T* target = to + row * to_width + column;
    if (add) {
      const auto there = Lot<T, kLot>::load(target);
#pragma unroll
      for (int k = 0; k < kLot; ++k)
        lot.values[k] = from_float<T>(to_float(lot.values[k]) + to_float(there.values[k]));
    }
    lot.store(target);
  }
}

/// Rows of the output are the inputs' rows one after another.
template <class T>
class ConcatKernel final : public MoveKernel {
 public:
  explicit ConcatKernel(const Site& site) : MoveKernel(site), out_(joined_rows(site.output())) {
    for (const TensorLayout& input : site.request.inputs) widths_.push_back(joined_rows(input.shape).width);
  }

  void forward(const Pass&, Stream& stream) override {
    for_parts([&](std::size_t i, std::int64_t first, std::int64_t width) {
      copy(in<T>(i), width, out<T>() + first, out_.width, width, false, native(stream));
    });
  }
  void backward(const Pass&, Stream& stream) override {
    for_parts([&](std::size_t i, std::int64_t first, std::int64_t width) {
      if (in_gradient<T>(i) != nullptr)
        copy(out_gradient<T>() + first, out_.width, in_gradient<T>(i), width, width, adds(i), native(stream));
    });
  }

 private:
  /// Images join pixel by pixel, other tensors sample by sample.
  static Rows joined_rows(const Shape& shape) {
    if (shape.rank() == 4) return rows_of(shape);
    return {shape[0], shape[0] == 0 ? 0 : shape.count() / shape[0]};
  }
  /// each(input, its first column in the output, its columns).
  template <class Each>
  void for_parts(const Each& each) const {
    std::int64_t first = 0;
    for (std::size_t i = 0; i < widths_.size(); first += widths_[i], ++i) each(i, first, widths_[i]);
  }
  void copy(const T* from, std::int64_t from_width, T* to, std::int64_t to_width, std::int64_t width,
            bool add, cudaStream_t on) const {
    const bool packs = aligned(from) && aligned(to) && out_.width % Pack<T>::kCount == 0;
    with_lots<T>(width, packs, [&](auto lot) {
      constexpr int kLot = decltype(lot)::value;
      columns_kernel<T, kLot><<<blocks_for(out_.count * width / kLot, device()), kBlockThreads, 0, on>>>(
          from, from_width, to, to_width, out_.count, width, add);
    });
    check_launch("concat");
  }
  Rows out_;
  std::vector<std::int64_t> widths_;
};

struct ShortcutSize {
  ImageSize in, out;  ///< in single channels
  int stride, side;   ///< zero channels before the input's
};

template <class T>
__global__ void shortcut_kernel(ShortcutSize s, const T* x, T* y) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < s.out.places(); i += step) {
    Spot spot = spot_of(i, s.out);
    const int channel = static_cast<int>(spot.lot) - s.side;
    const bool inside = channel >= 0 && channel < static_cast<int>(s.in.lots);
    spot.lot = static_cast<std::uint32_t>(channel);
    y[i] = inside ? x[place_of(spot, spot.row * s.stride, spot.col * s.stride, s.in)] : from_float<T>(0.0F);
  }
}
template <class T>
__global__ void shortcut_backward_kernel(ShortcutSize s, const T* dy, T* dx, bool add) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < s.in.places(); i += step) {
    Spot spot = spot_of(i, s.in);
    const int row = spot.row / s.stride, col = spot.col / s.stride;
    const bool kept = spot.row % s.stride == 0 && spot.col % s.stride == 0 &&
                      row < static_cast<int>(s.out.h) && col < static_cast<int>(s.out.w);
    spot.lot += static_cast<std::uint32_t>(s.side);
    put(dx + i, kept ? dy[place_of(spot, row, col, s.out)] : from_float<T>(0.0F), add);
  }
}

/// He et al. 2016, option A: every stride-th pixel, with zero channels on both sides.
template <class T>
class ShortcutKernel final : public MoveKernel {
 public:
  explicit ShortcutKernel(const Site& site)
      : MoveKernel(site),
        size_{image_size(site.input(), 1), image_size(site.output(), 1),
              static_cast<int>(std::get<ShortcutA>(site.request.node->spec).stride),
              static_cast<int>((site.output()[1] - site.input()[1]) / 2)} {}

  void forward(const Pass&, Stream& stream) override {
    shortcut_kernel<<<blocks_for(size_.out.places(), device()), kBlockThreads, 0, native(stream)>>>(
        size_, in<T>(), out<T>());
    check_launch("shortcut");
  }
  void backward(const Pass&, Stream& stream) override {
    if (in_gradient<T>() == nullptr) return;
    shortcut_backward_kernel<<<blocks_for(size_.in.places(), device()), kBlockThreads, 0, native(stream)>>>(
        size_, out_gradient<T>(), in_gradient<T>(), adds());
    check_launch("shortcut backward");
  }

 private:
  ShortcutSize size_;
};

}  // namespace

std::unique_ptr<Kernel> make_concat(const Site& site) { return make_typed<ConcatKernel>(site); }
std::unique_ptr<Kernel> make_shortcut_a(const Site& site) { return make_typed<ShortcutKernel>(site); }

}  // namespace lockstep::models::cuda
