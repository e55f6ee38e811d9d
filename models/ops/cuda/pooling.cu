// Max and average pooling over channels-last images. Forward gathers a window for each
// output, backward gathers for each input from the windows that cover it, so nothing is added atomically. Max
// pooling remembers the winner's position in its window.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/pool.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

struct Window {
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
};
template <class Pool>
Window window_of(const Pool& op) {
  const auto narrow = [](std::int64_t i) { return static_cast<int>(i); };
  return {narrow(op.kernel[0]), narrow(op.kernel[1]),  narrow(op.stride[0]),
          narrow(op.stride[1]), narrow(op.padding[0]), narrow(op.padding[1])};
}

/// Indices [first, last) of a line.
struct Range {
  int first, last;
};
/// What output `i` covers of a line of `extent`.
__device__ __forceinline__ Range covered(int i, int kernel, int stride, int pad, int extent) {
  const int from = i * stride - pad;
  return {max(from, 0), min(from + kernel, extent)};
}
/// Which of `outputs` outputs cover input `i`.
__device__ __forceinline__ Range covering(int i, int kernel, int stride, int pad, int outputs) {
  const int before = i + pad - kernel;  // outputs up to before / stride end ahead of i
  return {before < 0 ? 0 : before / stride + 1, min((i + pad) / stride + 1, outputs)};
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

template <class T, int kLot, class Index>
__global__ void max_kernel(Window w, ImageSize in, ImageSize out, const T* x, T* y,
                           Winners<Index, kLot>* winners) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < out.places(); i += step) {
    const Spot spot = spot_of(i, out);
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
    put<T, kLot>(y, i, best, false);
    winners[i] = winner;
  }
}

template <class T, int kLot, class Index>
__global__ void max_backward_kernel(Window w, ImageSize in, ImageSize out, const T* dy,
                                    const Winners<Index, kLot>* winners, T* dx, bool add) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < in.places(); i += step) {
    const Spot spot = spot_of(i, in);
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
    put<T, kLot>(dx, i, sum, add);
  }
}

__device__ __forceinline__ float divisor(const Window& w, const Range& rows, const Range& cols,
                                         bool count_padding) {
  return static_cast<float>(count_padding ? w.kernel_h * w.kernel_w
                                          : (rows.last - rows.first) * (cols.last - cols.first));
}

template <class T, int kLot>
__global__ void average_kernel(Window w, ImageSize in, ImageSize out, const T* x, T* y, bool count_padding) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < out.places(); i += step) {
    const Spot spot = spot_of(i, out);
    const Range rows = covered(spot.row, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(in.h));
    const Range cols = covered(spot.col, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(in.w));
    float sum[kLot] = {};
    for (int row = rows.first; row < rows.last; ++row)
      for (int col = cols.first; col < cols.last; ++col) {
        const auto v = Lot<T, kLot>::load(x + place_of(spot, row, col, in) * kLot);
#pragma unroll
        for (int k = 0; k < kLot; ++k) sum[k] += to_float(v.values[k]);
      }
    const float by = divisor(w, rows, cols, count_padding);
#pragma unroll
    for (int k = 0; k < kLot; ++k) sum[k] /= by;
    put<T, kLot>(y, i, sum, false);
  }
}

template <class T, int kLot>
__global__ void average_backward_kernel(Window w, ImageSize in, ImageSize out, const T* dy, T* dx,
                                        bool count_padding, bool add) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < in.places(); i += step) {
    const Spot spot = spot_of(i, in);
    const Range rows = covering(spot.row, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(out.h));
    const Range cols = covering(spot.col, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(out.w));
    float sum[kLot] = {};
    for (int p = rows.first; p < rows.last; ++p) {
      const Range down = covered(p, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(in.h));
      for (int q = cols.first; q < cols.last; ++q) {
        const Range across = covered(q, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(in.w));
        const float by = divisor(w, down, across, count_padding);
        const auto d = Lot<T, kLot>::load(dy + place_of(spot, p, q, out) * kLot);
#pragma unroll
        for (int k = 0; k < kLot; ++k) sum[k] += to_float(d.values[k]) / by;
      }
    }
    put<T, kLot>(dx, i, sum, add);
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
    with_index([&]<int kLot, class Index>() {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      max_kernel<T, kLot, Index><<<this->blocks(out), kBlockThreads, 0, native(stream)>>>(
          window_, in, out, this->template in<T>(), this->template out<T>(),
          this->template saved<Winners<Index, kLot>>());
    });
    check_launch("max pool");
  }
  void backward(const Pass&, Stream& stream) override {
    T* dx = this->template in_gradient<T>();
    if (dx == nullptr) return;
    with_index([&]<int kLot, class Index>() {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      max_backward_kernel<T, kLot, Index><<<this->blocks(in), kBlockThreads, 0, native(stream)>>>(
          window_, in, out, this->template out_gradient<T>(), this->template saved<Winners<Index, kLot>>(),
          dx, this->adds());
    });
    check_launch("max pool backward");
  }

 private:
  [[nodiscard]] bool small() const { return window_.kernel_h * window_.kernel_w <= UINT8_MAX; }
  template <class Run>
  void with_index(const Run& run) const {
    this->with_channels([&]<int kLot>() {
      if (small())
        run.template operator()<kLot, std::uint8_t>();
      else
        run.template operator()<kLot, std::uint16_t>();
    });
  }
  Window window_;
};

template <class T>
class AveragePoolKernel final : public PoolKernel<T> {
 public:
  explicit AveragePoolKernel(const Site& site)
      : PoolKernel<T>(site),
        window_(window_of(std::get<AveragePool>(site.request.node->spec))),
        count_padding_(std::get<AveragePool>(site.request.node->spec).count_padding) {}

  void forward(const Pass&, Stream& stream) override {
    this->with_channels([&]<int kLot>() {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      average_kernel<T, kLot><<<this->blocks(out), kBlockThreads, 0, native(stream)>>>(
          window_, in, out, this->template in<T>(), this->template out<T>(), count_padding_);
    });
    check_launch("average pool");
  }
  void backward(const Pass&, Stream& stream) override {
    T* dx = this->template in_gradient<T>();
    if (dx == nullptr) return;
    this->with_channels([&]<int kLot>() {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      average_backward_kernel<T, kLot><<<this->blocks(in), kBlockThreads, 0, native(stream)>>>(
          window_, in, out, this->template out_gradient<T>(), dx, count_padding_, this->adds());
    });
    check_launch("average pool backward");
  }

 private:
  Window window_;
  bool count_padding_;
};

}  // namespace

std::unique_ptr<Kernel> make_max_pool(const Site& site) { return make_typed<MaxPoolKernel>(site); }
std::unique_ptr<Kernel> make_average_pool(const Site& site) { return make_typed<AveragePoolKernel>(site); }

}  // namespace lockstep::models::cuda
