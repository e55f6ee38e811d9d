// Elements on the GPU: the types behind the storage dtypes, conversions by way of float, 16-byte packs, the
// size of a grid and how its threads walk over items. For .cu files.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/cuda/cuda.h"
#include "core/dtype.h"

namespace lockstep::cuda {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(double x) { return static_cast<float>(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ double from_float<double>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}

/// Rounds elements, two by one instruction where the type has one.
template <class T, int kCount>
__device__ __forceinline__ void from_floats(const float (&x)[kCount], T (&to)[kCount]) {
  if constexpr (kCount % 2 == 0 && std::is_same_v<T, __nv_bfloat16>) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2)
      *reinterpret_cast<__nv_bfloat162*>(to + i) = __floats2bfloat162_rn(x[i], x[i + 1]);
  } else if constexpr (kCount % 2 == 0 && std::is_same_v<T, __half>) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2)
      *reinterpret_cast<__half2*>(to + i) = __floats2half2_rn(x[i], x[i + 1]);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = from_float<T>(x[i]);
  }
}

/// 16 bytes of elements, loaded and stored as one; addresses are multiples of 16.
template <class T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(T);
  T values[kCount];
  __device__ __forceinline__ static Pack load(const T* from) {
    Pack pack;
    *reinterpret_cast<uint4*>(pack.values) = *reinterpret_cast<const uint4*>(from);
    return pack;
  }
  __device__ __forceinline__ void store(T* to) const {
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(values);
  }
};

/// Calls visit(T*) with the device type of a float dtype; does nothing for others.
template <class Visit>
void with_device_float(Dtype dtype, Visit&& visit) {
  switch (dtype) {
    case Dtype::f64:
      return visit(static_cast<double*>(nullptr));
    case Dtype::f32:
      return visit(static_cast<float*>(nullptr));
    case Dtype::bf16:
      return visit(static_cast<__nv_bfloat16*>(nullptr));
    case Dtype::f16:
      return visit(static_cast<__half*>(nullptr));
    default:
      return;
  }
}

/// A thread's first item of a grid-stride loop, and the stride.
__device__ __forceinline__ std::int64_t first_item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t stride() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

inline constexpr int kBlockThreads = 256;

/// Blocks for a grid-stride loop over `items`: at least 1, at most 8 a multiprocessor (its 2048 threads).
inline int blocks_for(std::int64_t items, Device device, int threads = kBlockThreads) {
  const std::int64_t wanted = (items + threads - 1) / threads;
  const std::int64_t most = std::int64_t{8} * multiprocessors(device);
  return static_cast<int>(std::clamp<std::int64_t>(wanted, 1, most));
}

/// Sum over the lanes of a warp, the same in all lanes, in a fixed order.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffU, value, distance);
  return value;
}

/// Sum over a block of at most 1024 threads, whole warps, in a fixed order; the result is in every thread.
/// `room` holds 32 elements of shared memory and is free again afterwards.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* room) {
  value = warp_sum(value);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
  if (lane == 0) room[warp] = value;
  __syncthreads();
  value = warp_sum(lane < warps ? room[lane] : T{});
  __syncthreads();
  return value;
}

}  // namespace lockstep::cuda
