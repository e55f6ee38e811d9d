#include "core/cuda/element.cuh"
#include "models/ops/cuda/convert.h"
#include "models/ops/image_order.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Where canonical element i of [N, C, P] lies when channels are innermost.
__device__ __forceinline__ std::int64_t channels_last(std::int64_t i, std::int64_t channels,
                                                      std::int64_t pixels) {
  const std::int64_t image = i / (channels * pixels), rest = i % (channels * pixels);
  return (image * pixels + rest % pixels) * channels + rest / pixels;
}

template <class T>
__global__ void store_kernel(const float* dense, T* stored, std::int64_t count, std::int64_t channels,
                             std::int64_t pixels) {
  for (std::int64_t i = first_item(); i < count; i += stride())
    stored[channels > 0 ? channels_last(i, channels, pixels) : i] = from_float<T>(dense[i]);
}

/// Few channels: a thread gathers a pixel from the planes, and neighbours write neighbouring pixels.
template <class T>
__global__ void store_pixels_kernel(const float* dense, T* stored, std::int64_t all_pixels,
                                    std::uint32_t channels, std::uint32_t pixels) {
  for (std::int64_t i = first_item(); i < all_pixels; i += stride()) {
    const std::int64_t image = i / pixels, pixel = i - image * pixels;
    const float* plane = dense + image * channels * pixels + pixel;
    for (std::uint32_t c = 0; c < channels; ++c)
      stored[i * channels + c] = from_float<T>(plane[static_cast<std::int64_t>(c) * pixels]);
  }
}

template <class T>
__global__ void load_kernel(const T* stored, float* dense, std::int64_t count, std::int64_t channels,
                            std::int64_t pixels) {
  for (std::int64_t i = first_item(); i < count; i += stride())
    dense[i] = to_float(stored[channels > 0 ? channels_last(i, channels, pixels) : i]);
}

__global__ void add_mean_kernel(const float* losses, std::int64_t count, float* sum) {
  __shared__ double room[32];
  double total = 0, counted = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    if (losses[i] == kIgnoredRow) continue;
    total += static_cast<double>(losses[i]);
    counted += 1;
  }
  total = block_sum(total, room);
  counted = block_sum(counted, room);
  if (threadIdx.x == 0 && counted > 0) *sum += static_cast<float>(total / counted);
}

struct Order {
  std::int64_t channels = 0, pixels = 0;
};
Order order_of(const TensorLayout& layout) {
  if (!layout.storage) return {};
  return {layout.shape[1], layout.shape[2] * layout.shape[3]};
}

}  // namespace

void store_dense(const float* dense, const TensorLayout& layout, void* stored, Device device,
                 cudaStream_t stream) {
  const std::int64_t count = layout.shape.count();
  if (count == 0) return;
  const Order order = order_of(layout);
  constexpr std::int64_t kFewChannels = 16;  // a pixel still lies in one or two sectors of memory
  with_device_float(layout.dtype, [&]<class T>(T*) {
    if (order.channels > 0 && order.channels <= kFewChannels) {
      const std::int64_t all_pixels = count / order.channels;
      store_pixels_kernel<<<blocks_for(all_pixels, device), kBlockThreads, 0, stream>>>(
          dense, static_cast<T*>(stored), all_pixels, static_cast<std::uint32_t>(order.channels),
          static_cast<std::uint32_t>(order.pixels));
      return;
    }
    store_kernel<<<blocks_for(count, device), kBlockThreads, 0, stream>>>(
        dense, static_cast<T*>(stored), count, order.channels, order.pixels);
  });
  check_launch("store_dense");
}

void load_dense(const void* stored, const TensorLayout& layout, float* dense, Device device,
                cudaStream_t stream) {
  const std::int64_t count = layout.shape.count();
  if (count == 0) return;
  const Order order = order_of(layout);
  with_device_float(layout.dtype, [&]<class T>(T*) {
    load_kernel<<<blocks_for(count, device), kBlockThreads, 0, stream>>>(static_cast<const T*>(stored), dense,
                                                                         count, order.channels, order.pixels);
  });
  check_launch("load_dense");
}

void add_mean(const float* losses, std::int64_t count, float* sum, cudaStream_t stream) {
  add_mean_kernel<<<1, 1024, 0, stream>>>(losses, count, sum);
  check_launch("add_mean");
}

}  // namespace lockstep::models::cuda
