// Max pooling over channels-last images; a block walks along one line of pixels. Forward remembers the
// winner's position in its window, backward gathers for each input from the windows that cover it, so nothing
// is added atomically. The windows of the common networks are constants to the compiler: the divisions would
// cost more than the memory.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/pool.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// A window of fixed size.
template <int kKernel, int kStride>
struct SquareWindow {
  static constexpr int kernel_h = kKernel, kernel_w = kKernel, stride_h = kStride, stride_w = kStride;
  int pad_h, pad_w;
  explicit SquareWindow(const Window& w) : pad_h(w.pad_h), pad_w(w.pad_w) {}
};

/// First place of a line of pixels, and a move to its i-th place.
__device__ __forceinline__ Spot line_of(std::uint32_t line, const ImageSize& size) {
  return {line / size.h, static_cast<int>(line % size.h), 0, 0};
}
__device__ __forceinline__ void move_along(Spot& spot, std::uint32_t i, const ImageSize& size) {
  spot.col = static_cast<int>(i / size.lots);
  spot.lot = i % size.lots;
}

/// Positions in their windows of a lot's winners.
template <class Index, int kLot>
struct alignas(sizeof(Index) * kLot) Winners {
  Index at[kLot];
};

/// Takes over what is greater, the first of all, and NaN.
template <class T, int kLot, class Index>
__device__ __forceinline__ void challenge(const Lot<T, kLot>& v, Index position, bool first,
                                          float (&best)[kLot], Winners<Index, kLot>& winners) {
#pragma unroll
  for (int k = 0; k < kLot; ++k) {
    const float value = to_float(v.values[k]);
    if (!first && !(value > best[k]) && value == value) continue;
    best[k] = value;
    winners.at[k] = position;
  }
}

template <class T, int kLot, class Index, class W>
__global__ void max_kernel(W w, ImageSize in, ImageSize out, const T* x, T* y,
                           Winners<Index, kLot>* winners) {
  Spot spot = line_of(blockIdx.x, out);
  const std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * out.w * out.lots;
  for (std::uint32_t i = threadIdx.x; i < out.w * out.lots; i += blockDim.x) {
    move_along(spot, i, out);
    const Range rows = covered(spot.row, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(in.h));
    const Range cols = covered(spot.col, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(in.w));
    const int corner = (spot.row * w.stride_h - w.pad_h) * w.kernel_w + spot.col * w.stride_w - w.pad_w;
    float best[kLot];
    Winners<Index, kLot> winner;
    for (int row = rows.first; row < rows.last; ++row)
      for (int col = cols.first; col < cols.last; ++col)
        challenge(Lot<T, kLot>::load(x + place_of(spot, row, col, in) * kLot),
                  static_cast<Index>(row * w.kernel_w + col - corner), row == rows.first && col == cols.first,
                  best, winner);
    put<T, kLot>(y, line + i, best, false);
    winners[line + i] = winner;
  }
}

template <class T, int kLot, class Index, class W>
__global__ void max_backward_kernel(W w, ImageSize in, ImageSize out, const T* dy,
                                    const Winners<Index, kLot>* winners, T* dx, bool add) {
  Spot spot = line_of(blockIdx.x, in);
  const std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * in.w * in.lots;
  for (std::uint32_t i = threadIdx.x; i < in.w * in.lots; i += blockDim.x) {
    move_along(spot, i, in);
    const Range rows = covering(spot.row, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(out.h));
    const Range cols = covering(spot.col, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(out.w));
    float sum[kLot] = {};
    for (int p = rows.first; p < rows.last; ++p) {
      for (int q = cols.first; q < cols.last; ++q) {
        const std::int64_t place = place_of(spot, p, q, out);
        const auto winner = winners[place];
        const auto d = Lot<T, kLot>::load(dy + place * kLot);
        const int position =
            (spot.row - p * w.stride_h + w.pad_h) * w.kernel_w + spot.col - q * w.stride_w + w.pad_w;
#pragma unroll
        for (int k = 0; k < kLot; ++k)
          sum[k] += static_cast<int>(winner.at[k]) == position ? to_float(d.values[k]) : 0.0F;
      }
    }
    put<T, kLot>(dx, line + i, sum, add);
  }
}

template <class T>
class MaxPoolKernel final : public PoolKernel<T> {
 public:
  explicit MaxPoolKernel(const Site& site)
      : PoolKernel<T>(site), window_(window_of(std::get<MaxPool>(site.request.node->spec))) {}
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(this->out_.count()) * (small() ? 1 : 2);
  }

  void forward(const Pass&, Stream& stream) override {
    with_index([&]<int kLot, class Index>(const auto& window) {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      max_kernel<T, kLot, Index><<<out.n * out.h, kBlockThreads, 0, native(stream)>>>(
          window, in, out, this->template in<T>(), this->template out<T>(),
          this->template saved<Winners<Index, kLot>>());
    });
    check_launch("max pool");
  }
  void backward(const Pass&, Stream& stream) override {
    T* dx = this->template in_gradient<T>();
    if (dx == nullptr) return;
    with_index([&]<int kLot, class Index>(const auto& window) {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      max_backward_kernel<T, kLot, Index><<<in.n * in.h, kBlockThreads, 0, native(stream)>>>(
          window, in, out, this->template out_gradient<T>(), this->template saved<Winners<Index, kLot>>(), dx,
          this->adds());
    });
    check_launch("max pool backward");
  }

 private:
  [[nodiscard]] bool small() const { return window_.kernel_h * window_.kernel_w <= UINT8_MAX; }
  template <class Run>
  void with_index(const Run& run) const {
    this->with_channels([&]<int kLot>() {
      if (square(3, 2)) return run.template operator()<kLot, std::uint8_t>(SquareWindow<3, 2>(window_));
      if (square(2, 2)) return run.template operator()<kLot, std::uint8_t>(SquareWindow<2, 2>(window_));
      if (small()) return run.template operator()<kLot, std::uint8_t>(window_);
      run.template operator()<kLot, std::uint16_t>(window_);
    });
  }
  [[nodiscard]] bool square(int kernel, int stride) const {
    const Window& w = window_;
    return w.kernel_h == kernel && w.kernel_w == kernel && w.stride_h == stride && w.stride_w == stride;
  }
  Window window_;
};

}  // namespace

std::unique_ptr<Kernel> make_max_pool(const Site& site) { return make_typed<MaxPoolKernel>(site); }

}  // namespace lockstep::models::cuda
