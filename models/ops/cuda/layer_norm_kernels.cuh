// The kernels of layer norm. For layer_norm.cu.
//
// A warp holds a row in registers: lane l has its packs l, l + 32, ... Rows that no warp can hold, or that
// packs of 16 bytes do not divide, take a block each and are read again from the cache.
#pragma once

#include "core/cuda/element.cuh"
#include "models/ops/cuda/gradient.cuh"

namespace lockstep::models::cuda {

using lockstep::cuda::block_sum;
using lockstep::cuda::from_float;
using lockstep::cuda::Pack;
using lockstep::cuda::to_float;
using lockstep::cuda::warp_sum;

constexpr int kNormWarps = 8;  // rows at a time in a block
constexpr int kNormThreads = 32 * kNormWarps;

struct Moments {
  float mean, inverse;  ///< inverse: 1 / deviation
};
struct NormWeights {
  const float *weight, *bias;
};

/// A pack's worth of floats at an address that packs are aligned to.
template <int kCount>
__device__ __forceinline__ void load_floats(const float* from, float (&to)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const float4 quad = *reinterpret_cast<const float4*>(from + i);
    to[i] = quad.x, to[i + 1] = quad.y, to[i + 2] = quad.z, to[i + 3] = quad.w;
  }
}

/// A lane's part of a row.
template <class T, int kPacks>
struct HeldRow {
  static constexpr int kCount = Pack<T>::kCount;
  Pack<T> packs[kPacks];

  /// Column of pack p; packs at or beyond the width do not exist.
  __device__ __forceinline__ static std::int64_t column(int p) {
    return (threadIdx.x % 32 + p * 32) * kCount;
  }
  /// Calls each(p, column) for the packs that exist.
  template <class Each>
  __device__ __forceinline__ static void for_packs(std::int64_t width, Each&& each) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p)
      if (column(p) < width) each(p, column(p));
  }
  __device__ __forceinline__ void load(const T* row, std::int64_t width) {
    for_packs(width, [&](int p, std::int64_t at) { packs[p] = Pack<T>::load(row + at); });
  }
  /// Sum over the row of f(element).
  template <class F>
  __device__ __forceinline__ float sum(std::int64_t width, F&& f) const {
    float total = 0;
    for_packs(width, [&](int p, std::int64_t) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) total += f(to_float(packs[p].values[i]));
    });
    return warp_sum(total);
  }
  __device__ __forceinline__ Moments moments(std::int64_t width, float epsilon) const {
    const auto n = static_cast<float>(width);
    const float mean = sum(width, [](float v) { return v; }) / n;
    const float variance = sum(width, [=](float v) { return (v - mean) * (v - mean); }) / n;
    return {mean, 1.0F / sqrtf(variance + epsilon)};
  }
};

template <class T, int kPacks>
__global__ void __launch_bounds__(kNormThreads)
    rows_forward(const T* x, NormWeights weights, T* y, Moments* moments, std::int64_t rows,
                 std::int64_t width, float epsilon) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kNormWarps + threadIdx.x / 32;
  if (row >= rows) return;
  HeldRow<T, kPacks> held;
  held.load(x + row * width, width);
  const Moments m = held.moments(width, epsilon);
  if (threadIdx.x % 32 == 0) moments[row] = m;
  held.for_packs(width, [&](int p, std::int64_t at) {
    constexpr int kCount = Pack<T>::kCount;
    float w[kCount], b[kCount];
    load_floats(weights.weight + at, w);
    load_floats(weights.bias + at, b);
    Pack<T> pack;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      pack.values[i] = from_float<T>((to_float(held.packs[p].values[i]) - m.mean) * m.inverse * w[i] + b[i]);
    pack.store(y + row * width + at);
  });
}

/// A lane's sums of dy xhat and of dy over the rows it saw.
template <int kPacks, int kCount>
struct ParameterSums {
  float weight[kPacks][kCount] = {}, bias[kPacks][kCount] = {};
};
/// mean(g) and mean(g xhat) of a row, with g = dy w.
struct RowMeans {
  float gradient, product;
};

template <class T, int kPacks>
__device__ __forceinline__ RowMeans sum_row(const HeldRow<T, kPacks>& x, const HeldRow<T, kPacks>& dy,
                                            const float* weight, const Moments& m, std::int64_t width,
                                            ParameterSums<kPacks, Pack<T>::kCount>& sums) {
  RowMeans means{0, 0};
  x.for_packs(width, [&](int p, std::int64_t at) {
    float w[Pack<T>::kCount];
    load_floats(weight + at, w);
#pragma unroll
    for (int i = 0; i < Pack<T>::kCount; ++i) {
      const float hat = (to_float(x.packs[p].values[i]) - m.mean) * m.inverse;
      const float d = to_float(dy.packs[p].values[i]);
      sums.weight[p][i] += d * hat;
      sums.bias[p][i] += d;
      means.gradient += d * w[i];
      means.product += d * w[i] * hat;
    }
  });
  const auto n = static_cast<float>(width);
  return {warp_sum(means.gradient) / n, warp_sum(means.product) / n};
}

/// dx (+)= (g - mean(g) - xhat mean(g xhat)) / deviation.
template <class T, int kPacks>
__device__ __forceinline__ void store_row_gradient(const HeldRow<T, kPacks>& x, const HeldRow<T, kPacks>& dy,
                                                   const float* weight, const Moments& m,
                                                   const RowMeans& means, std::int64_t width, T* dx,
                                                   bool add) {
  x.for_packs(width, [&](int p, std::int64_t at) {
    float w[Pack<T>::kCount];
    load_floats(weight + at, w);
    Pack<T> pack;
    if (add) pack = Pack<T>::load(dx + at);
#pragma unroll
    for (int i = 0; i < Pack<T>::kCount; ++i) {
      const float hat = (to_float(x.packs[p].values[i]) - m.mean) * m.inverse;
      const float g = to_float(dy.packs[p].values[i]) * w[i];
      const float d = m.inverse * (g - means.gradient - hat * means.product);
      pack.values[i] = from_float<T>(add ? to_float(pack.values[i]) + d : d);
    }
    pack.store(dx + at);
  });
}

/// The block's sums, joined warp by warp in shared memory: those of dy xhat, then those of dy.
template <class T, int kPacks>
__device__ void join_sums(const ParameterSums<kPacks, Pack<T>::kCount>& sums, float* room, float* partial,
                          std::int64_t width) {
  for (int turn = 0; turn < kNormWarps; ++turn) {
    if (turn == threadIdx.x / 32) {
      HeldRow<T, kPacks>::for_packs(width, [&](int p, std::int64_t at) {
#pragma unroll
        for (int i = 0; i < Pack<T>::kCount; ++i) {
          room[at + i] = (turn == 0 ? 0.0F : room[at + i]) + sums.weight[p][i];
          room[width + at + i] = (turn == 0 ? 0.0F : room[width + at + i]) + sums.bias[p][i];
        }
      });
    }
    __syncthreads();
  }
  for (std::int64_t i = threadIdx.x; i < 2 * width; i += kNormThreads) partial[i] = room[i];
}

/// Rows stay packed in registers, so that two blocks fit a multiprocessor.
template <class T, int kPacks>
__global__ void __launch_bounds__(kNormThreads, kPacks <= 3 ? 2 : 1)
    rows_backward(const T* x, const T* dy, const float* weight, const Moments* moments, T* dx, bool add,
                  float* partial, std::int64_t rows, std::int64_t width) {
  extern __shared__ float room[];
  ParameterSums<kPacks, Pack<T>::kCount> sums;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kNormWarps + threadIdx.x / 32; row < rows;
       row += static_cast<std::int64_t>(gridDim.x) * kNormWarps) {
    HeldRow<T, kPacks> held, gradient;
    held.load(x + row * width, width);
    gradient.load(dy + row * width, width);
    const Moments m = moments[row];
    const RowMeans means = sum_row(held, gradient, weight, m, width, sums);
    if (dx != nullptr) store_row_gradient(held, gradient, weight, m, means, width, dx + row * width, add);
  }
  join_sums<T, kPacks>(sums, room, partial + blockIdx.x * 2 * width, width);
}

// Any rows: a block each.

template <class T>
__global__ void __launch_bounds__(kNormThreads)
    wide_forward(const T* x, NormWeights weights, T* y, Moments* moments, std::int64_t width, float epsilon) {
  __shared__ float room[32];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  float sum = 0, squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kNormThreads) sum += to_float(x[first + i]);
  const float mean = block_sum(sum, room) / static_cast<float>(width);
  for (std::int64_t i = threadIdx.x; i < width; i += kNormThreads) {
    const float d = to_float(x[first + i]) - mean;
    squares += d * d;
  }
  const float inverse = 1.0F / sqrtf(block_sum(squares, room) / static_cast<float>(width) + epsilon);
  if (threadIdx.x == 0) moments[blockIdx.x] = {mean, inverse};
  for (std::int64_t i = threadIdx.x; i < width; i += kNormThreads)
    y[first + i] =
        from_float<T>((to_float(x[first + i]) - mean) * inverse * weights.weight[i] + weights.bias[i]);
}

template <class T>
__global__ void __launch_bounds__(kNormThreads)
    wide_backward(const T* x, const T* dy, const float* weight, const Moments* moments, T* dx, bool add,
                  std::int64_t width) {
  __shared__ float room[32];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  const Moments m = moments[blockIdx.x];
  float gradient = 0, product = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kNormThreads) {
    const float g = to_float(dy[first + i]) * weight[i];
    gradient += g;
    product += g * (to_float(x[first + i]) - m.mean) * m.inverse;
  }
  gradient = block_sum(gradient, room) / static_cast<float>(width);
  product = block_sum(product, room) / static_cast<float>(width);
  for (std::int64_t i = threadIdx.x; i < width; i += kNormThreads) {
    const float hat = (to_float(x[first + i]) - m.mean) * m.inverse;
    const float d = m.inverse * (to_float(dy[first + i]) * weight[i] - gradient - hat * product);
    dx[first + i] = from_float<T>(add ? to_float(dx[first + i]) + d : d);
  }
}

/// Block b sums the rows b, b + gridDim.x, ... of its columns.
template <class T>
__global__ void __launch_bounds__(kNormThreads)
    wide_parameters(const T* x, const T* dy, const Moments* moments, float* partial, std::int64_t rows,
                    std::int64_t width) {
  for (std::int64_t column = threadIdx.x; column < width; column += kNormThreads) {
    float weight_sum = 0, bias_sum = 0;
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
      const Moments m = moments[row];
      const float d = to_float(dy[row * width + column]);
      weight_sum += d * (to_float(x[row * width + column]) - m.mean) * m.inverse;
      bias_sum += d;
    }
    partial[blockIdx.x * 2 * width + column] = weight_sum;
    partial[blockIdx.x * 2 * width + width + column] = bias_sum;
  }
}

__global__ void __launch_bounds__(1024) parameter_totals(const float* partial, int blocks, std::int64_t width,
                                                         GradientSlot weight, GradientSlot bias) {
  __shared__ float room[32][33];
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
  float sum = 0;
  if (at < 2 * width)
    for (int block = threadIdx.y; block < blocks; block += 32) sum += partial[block * 2 * width + at];
  room[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || at >= 2 * width) return;
  float total = 0;
  for (int lane = 0; lane < 32; ++lane) total += room[lane][threadIdx.x];
  if (at < width)
    put(weight, at, total);
  else
    put(bias, at - width, total);
}

}  // namespace lockstep::models::cuda
