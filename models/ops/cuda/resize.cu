// Bilinear enlargement with half-pixel centres: every output pixel is a weighted sum of four input pixels,
// and an input pixel's gradient gathers from the outputs that looked at it.
#include <variant>

#include "models/ops/cuda/image_walk.cuh"
#include "models/ops/cuda/kernels.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Where an output coordinate reads along one axis.
struct Tap {
  int low, high;
  float high_share;
};
__device__ __forceinline__ Tap tap_of(int i, int extent, int scale) {
  const float centre = (static_cast<float>(i) + 0.5F) / static_cast<float>(scale) - 0.5F;
  const float inside = fmaxf(centre, 0.0F);
  const int low = min(static_cast<int>(inside), extent - 1);
  return {low, min(low + 1, extent - 1), inside - static_cast<float>(low)};
}
/// The share of input `i` in a tap.
__device__ __forceinline__ float share_of(const Tap& tap, int i) {
  return (tap.low == i ? 1.0F - tap.high_share : 0.0F) + (tap.high == i ? tap.high_share : 0.0F);
}

template <class T, int kLot>
__device__ __forceinline__ void gather(const T* from, std::int64_t place, float share, float (&sum)[kLot]) {
  const auto v = Lot<T, kLot>::load(from + place * kLot);
#pragma unroll
  for (int k = 0; k < kLot; ++k) sum[k] = fmaf(share, to_float(v.values[k]), sum[k]);
}
template <class T, int kLot>
__device__ __forceinline__ void put(T* to, const float (&sum)[kLot], bool add) {
  Lot<T, kLot> result;
  if (add) result = Lot<T, kLot>::load(to);
#pragma unroll
  for (int k = 0; k < kLot; ++k)
    result.values[k] = from_float<T>(add ? to_float(result.values[k]) + sum[k] : sum[k]);
  result.store(to);
}

template <class T, int kLot>
__global__ void resize_kernel(ImageSize in, ImageSize out, int scale, const T* x, T* y) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < out.places(); i += step) {
    const Spot spot = spot_of(i, out);
    const Tap row = tap_of(spot.row, static_cast<int>(in.h), scale);
    const Tap col = tap_of(spot.col, static_cast<int>(in.w), scale);
    const float down = row.high_share, right = col.high_share;
    float sum[kLot] = {};
    gather<T, kLot>(x, place_of(spot, row.low, col.low, in), (1 - down) * (1 - right), sum);
    gather<T, kLot>(x, place_of(spot, row.low, col.high, in), (1 - down) * right, sum);
    gather<T, kLot>(x, place_of(spot, row.high, col.low, in), down * (1 - right), sum);
    gather<T, kLot>(x, place_of(spot, row.high, col.high, in), down * right, sum);
    put<T, kLot>(y + static_cast<std::int64_t>(i) * kLot, sum, false);
  }
}

template <class T, int kLot>
__global__ void resize_backward_kernel(ImageSize in, ImageSize out, int scale, const T* dy, T* dx, bool add) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < in.places(); i += step) {
    const Spot spot = spot_of(i, in);
    float sum[kLot] = {};
    const int bottom = min((spot.row + 2) * scale, static_cast<int>(out.h));
    const int right = min((spot.col + 2) * scale, static_cast<int>(out.w));
    for (int row = max((spot.row - 1) * scale, 0); row < bottom; ++row) {
      const float down = share_of(tap_of(row, static_cast<int>(in.h), scale), spot.row);
      if (down == 0) continue;
      for (int col = max((spot.col - 1) * scale, 0); col < right; ++col) {
        const float across = share_of(tap_of(col, static_cast<int>(in.w), scale), spot.col);
        if (across != 0) gather<T, kLot>(dy, place_of(spot, row, col, out), down * across, sum);
      }
    }
    put<T, kLot>(dx + static_cast<std::int64_t>(i) * kLot, sum, add);
  }
}

template <class T>
class ResizeKernel final : public CudaKernel {
 public:
  explicit ResizeKernel(const Site& site)
      : CudaKernel(site),
        in_(site.input()),
        out_(site.output()),
        scale_(static_cast<int>(std::get<Resize>(site.request.node->spec).scale)) {}

  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

  void forward(const Pass&, Stream& stream) override {
    with_lots<T>(in_[1], true, [&](auto lot) {
      constexpr int kLot = decltype(lot)::value;
      const ImageSize out = image_size(out_, kLot);
      resize_kernel<T, kLot><<<blocks_for(out.places(), device()), kBlockThreads, 0, native(stream)>>>(
          image_size(in_, kLot), out, scale_, in<T>(), this->out<T>());
    });
    check_launch("resize");
  }
  void backward(const Pass&, Stream& stream) override {
    if (in_gradient<T>() == nullptr) return;
    with_lots<T>(in_[1], true, [&](auto lot) {
      constexpr int kLot = decltype(lot)::value;
      const ImageSize in = image_size(in_, kLot);
      resize_backward_kernel<T, kLot>
          <<<blocks_for(in.places(), device()), kBlockThreads, 0, native(stream)>>>(
              in, image_size(out_, kLot), scale_, out_gradient<T>(), in_gradient<T>(), adds());
    });
    check_launch("resize backward");
  }

 private:
  Shape in_, out_;
  int scale_;
};

}  // namespace

std::unique_ptr<Kernel> make_resize(const Site& site) { return make_typed<ResizeKernel>(site); }

}  // namespace lockstep::models::cuda
