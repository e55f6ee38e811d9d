// Layer norm of rows that a warp can hold in registers: lane l has a row's packs l, l + 32, ... Backward
// copies a warp's next row into shared memory while it works on this one. For layer_norm.cu.
#pragma once

#include <cuda_pipeline_primitives.h>

#include "core/cuda/element.cuh"
#include "models/ops/cuda/gradient.cuh"

namespace lockstep::models::cuda {

using lockstep::cuda::block_sum;
using lockstep::cuda::from_float;
using lockstep::cuda::from_floats;
using lockstep::cuda::Pack;
using lockstep::cuda::to_float;
using lockstep::cuda::warp_sum;

constexpr int kNormWarps = 8;  // rows at a time in a block
constexpr int kNormThreads = 32 * kNormWarps;

struct Moments {
  float mean, inverse;  ///< inverse: 1 / deviation
  __device__ __forceinline__ float normalised(float x) const { return (x - mean) * inverse; }
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
#pragma unroll
    for (int i = 0; i < kCount; ++i) w[i] = m.normalised(to_float(held.packs[p].values[i])) * w[i] + b[i];
    Pack<T> pack;
    from_floats(w, pack.values);
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
__device__ __forceinline__ RowMeans sum_row(const T* x, const T* dy, const float* weight, const Moments& m,
                                            std::int64_t width,
                                            ParameterSums<kPacks, Pack<T>::kCount>& sums) {
  RowMeans means{0, 0};
  HeldRow<T, kPacks>::for_packs(width, [&](int p, std::int64_t at) {
    const Pack<T> values = Pack<T>::load(x + at), gradients = Pack<T>::load(dy + at);
    float w[Pack<T>::kCount];
    load_floats(weight + at, w);
#pragma unroll
    for (int i = 0; i < Pack<T>::kCount; ++i) {
      const float hat = m.normalised(to_float(values.values[i]));
      const float d = to_float(gradients.values[i]);
      sums.weight[p][i] += d * hat;
      sums.bias[p][i] += d;
      means.gradient += d * w[i];
      means.product += d * w[i] * hat;
    }
  });
  const auto n = static_cast<float>(width);
  return {warp_sum(means.gradient) / n, warp_sum(means.product) / n};
}

/// dx = (g - mean(g) - xhat mean(g xhat)) / deviation, and what stands in `present` (may be null).
template <class T, int kPacks>
__device__ __forceinline__ void store_row_gradient(const T* x, const T* dy, const float* weight,
                                                   const Moments& m, const RowMeans& means,
                                                   std::int64_t width, T* dx, const T* present) {
  HeldRow<T, kPacks>::for_packs(width, [&](int, std::int64_t at) {
    const Pack<T> values = Pack<T>::load(x + at), gradients = Pack<T>::load(dy + at);
    float w[Pack<T>::kCount];
    load_floats(weight + at, w);
#pragma unroll
    for (int i = 0; i < Pack<T>::kCount; ++i) {
      const float hat = m.normalised(to_float(values.values[i]));
      const float g = to_float(gradients.values[i]) * w[i];
      w[i] = m.inverse * (g - means.gradient - hat * means.product);
    }
    Pack<T> pack;
    if (present != nullptr) {
      pack = Pack<T>::load(present + at);
#pragma unroll
      for (int i = 0; i < Pack<T>::kCount; ++i) w[i] += to_float(pack.values[i]);
    }
    from_floats(w, pack.values);
    pack.store(dx + at);
  });
}

/// Rows of x, dy and dx (where it is added to) that a warp copies while it works on the ones before. Every
/// lane copies what it will read itself.
template <class T, int kPacks>
class StagedRows {
 public:
  static constexpr int kElements = kPacks * 32 * Pack<T>::kCount;  // of a tensor's row
  static constexpr int kBytes = 3 * kElements * static_cast<int>(sizeof(T));

  /// `memory`: kBytes per stage. With one stage a row is copied when it is needed.
  __device__ __forceinline__ StagedRows(void* memory, int stages)
      : memory_(static_cast<T*>(memory)), more_(stages - 1) {}

  /// Once for every row in turn, also for a row beyond the last one, which is null.
  __device__ __forceinline__ void fetch(const T* x, const T* dy, const T* dx, std::int64_t width) {
    T* to = memory_ + filling_ * 3 * kElements;
    if (x != nullptr) {
      copy(x, to, width);
      copy(dy, to + kElements, width);
      if (dx != nullptr) copy(dx, to + 2 * kElements, width);
    }
    __pipeline_commit();
    filling_ ^= more_;
  }
  /// Waits for the oldest row that was fetched and not awaited: x, then dy and dx each kElements later.
  __device__ __forceinline__ const T* await() {
    if (more_ > 0)
      __pipeline_wait_prior(1);
    else
      __pipeline_wait_prior(0);
    const T* rows = memory_ + reading_ * 3 * kElements;
    reading_ ^= more_;
    return rows;
  }

 private:
  __device__ __forceinline__ static void copy(const T* from, T* to, std::int64_t width) {
    HeldRow<T, kPacks>::for_packs(
        width, [&](int, std::int64_t at) { __pipeline_memcpy_async(to + at, from + at, sizeof(Pack<T>)); });
  }

  T* memory_;
  int more_, filling_ = 0, reading_ = 0;
};

/// Bytes of shared memory of a block: stages, and in their place one of the sums of every warp.
template <class T, int kPacks>
constexpr std::size_t backward_room(int stages) {
  const std::size_t sums = StagedRows<T, kPacks>::kElements * sizeof(float);
  return kNormWarps * std::max<std::size_t>(stages * StagedRows<T, kPacks>::kBytes, sums);
}

/// Joins what the warps of a block summed, in their order.
template <class T, int kPacks>
__device__ void join_sums(const float (&sums)[kPacks][Pack<T>::kCount], float* room, float* partial,
                          std::int64_t width) {
  float* own = room + threadIdx.x / 32 * width;
  __syncthreads();
  HeldRow<T, kPacks>::for_packs(width, [&](int p, std::int64_t at) {
#pragma unroll
    for (int i = 0; i < Pack<T>::kCount; i += 4)
      *reinterpret_cast<float4*>(own + at + i) = {sums[p][i], sums[p][i + 1], sums[p][i + 2], sums[p][i + 3]};
  });
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < width; i += kNormThreads) {
    float sum = 0;
    for (int warp = 0; warp < kNormWarps; ++warp) sum += room[warp * width + i];
    partial[i] = sum;
  }
}

/// Joins both sums into this block's part of `partial`. What is still being fetched arrives first: the room
/// is used again.
template <class T, int kPacks>
__device__ void join_parameter_sums(const ParameterSums<kPacks, Pack<T>::kCount>& sums, float* room,
                                    float* partial, std::int64_t width) {
  __pipeline_wait_prior(0);
  float* mine = partial + blockIdx.x * 2 * width;
  join_sums<T, kPacks>(sums.weight, room, mine, width);
  join_sums<T, kPacks>(sums.bias, room, mine + width, width);
}

/// Two blocks fit a multiprocessor.
template <class T, int kPacks>
__global__ void __launch_bounds__(kNormThreads, kPacks <= 4 ? 2 : 1)
    rows_backward(const T* x, const T* dy, const float* weight, const Moments* moments, T* dx, bool add,
                  float* partial, std::int64_t rows, std::int64_t width, int stages) {
  extern __shared__ uint4 room[];
  using Staged = StagedRows<T, kPacks>;
  const int warp = threadIdx.x / 32;
  Staged staged(reinterpret_cast<char*>(room) + warp * stages * Staged::kBytes, stages);
  ParameterSums<kPacks, Pack<T>::kCount> sums;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kNormWarps;
  const auto fetch = [&](std::int64_t row) {
    const std::int64_t at = row * width;
    staged.fetch(row < rows ? x + at : nullptr, dy + at, add ? dx + at : nullptr, width);
  };
  std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kNormWarps + warp;
  if (stages > 1) fetch(row);
  Moments m = row < rows ? moments[row] : Moments{};
  for (; row < rows; row += step) {
    fetch(stages > 1 ? row + step : row);
    const Moments next = row + step < rows ? moments[row + step] : Moments{};
    const T* at = staged.await();
    const T* gradient = at + Staged::kElements;
    const RowMeans means = sum_row<T, kPacks>(at, gradient, weight, m, width, sums);
    __syncwarp();  // read again from shared memory, not held in registers
    if (dx != nullptr)
      store_row_gradient<T, kPacks>(at, gradient, weight, m, means, width, dx + row * width,
                                    add ? gradient + Staged::kElements : nullptr);
    m = next;
  }
  join_parameter_sums<T, kPacks>(sums, reinterpret_cast<float*>(room), partial, width);
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
