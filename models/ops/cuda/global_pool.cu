// The average of each channel over the whole image.
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/pool.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

constexpr int kGlobalLanes = 32, kGlobalGroups = kBlockThreads / kGlobalLanes;

/// A block averages 32 lots of one image's channels over its pixels.
template <class T, int kLot>
__global__ void global_kernel(const T* x, T* y, std::uint32_t pixels, std::uint32_t lots) {
  __shared__ float room[kGlobalGroups][kGlobalLanes * kLot];
  const int lane = threadIdx.x % kGlobalLanes, group = threadIdx.x / kGlobalLanes;
  const std::uint32_t lot = blockIdx.x * kGlobalLanes + lane;
  const T* image = x + static_cast<std::int64_t>(blockIdx.y) * pixels * lots * kLot;
  float sum[kLot] = {};
  if (lot < lots) {
#pragma unroll 4
    for (std::uint32_t pixel = group; pixel < pixels; pixel += kGlobalGroups) {
      const auto v = Lot<T, kLot>::load(image + (static_cast<std::int64_t>(pixel) * lots + lot) * kLot);
#pragma unroll
      for (int k = 0; k < kLot; ++k) sum[k] += to_float(v.values[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < kLot; ++k) room[group][lane * kLot + k] = sum[k];
  __syncthreads();
  for (int c = threadIdx.x; c < kGlobalLanes * kLot; c += kBlockThreads) {
    const std::uint32_t channel = blockIdx.x * kGlobalLanes * kLot + c;
    if (channel >= lots * kLot) continue;
    float total = 0;
#pragma unroll
    for (int g = 0; g < kGlobalGroups; ++g) total += room[g][c];
    y[static_cast<std::int64_t>(blockIdx.y) * lots * kLot + channel] =
        from_float<T>(total / static_cast<float>(pixels));
  }
}

template <class T, int kLot>
__global__ void global_backward_kernel(ImageSize in, const T* dy, T* dx, bool add) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  const float pixels = static_cast<float>(in.h * in.w);
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < in.places(); i += step) {
    const Spot spot = spot_of(i, in);
    const auto d = Lot<T, kLot>::load(dy + (static_cast<std::int64_t>(spot.n) * in.lots + spot.lot) * kLot);
    float sum[kLot];
#pragma unroll
    for (int k = 0; k < kLot; ++k) sum[k] = to_float(d.values[k]) / pixels;
    put<T, kLot>(dx, i, sum, add);
  }
}

template <class T>
class GlobalPoolKernel final : public PoolKernel<T> {
 public:
  using PoolKernel<T>::PoolKernel;

  void forward(const Pass&, Stream& stream) override {
    this->with_channels([&]<int kLot>() {
      const ImageSize in = image_size(this->in_, kLot);
      const dim3 grid((in.lots + kGlobalLanes - 1) / kGlobalLanes, in.n);
      global_kernel<T, kLot><<<grid, kBlockThreads, 0, native(stream)>>>(
          this->template in<T>(), this->template out<T>(), in.h * in.w, in.lots);
    });
    check_launch("global average pool");
  }
  void backward(const Pass&, Stream& stream) override {
    T* dx = this->template in_gradient<T>();
    if (dx == nullptr) return;
    this->with_channels([&]<int kLot>() {
      const ImageSize in = image_size(this->in_, kLot);
      global_backward_kernel<T, kLot><<<this->blocks(in), kBlockThreads, 0, native(stream)>>>(
          in, this->template out_gradient<T>(), dx, this->adds());
    });
    check_launch("global average pool backward");
  }
};

}  // namespace

std::unique_ptr<Kernel> make_global_pool(const Site& site) { return make_typed<GlobalPoolKernel>(site); }

}  // namespace lockstep::models::cuda
