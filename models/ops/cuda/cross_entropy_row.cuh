// Softmax cross-entropy of one row, by the warp or block that shares it, in few instructions an element: with
// tens of thousands of classes those are what a loss costs. For loss_cross_entropy.cu.
#pragma once

#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {

using lockstep::cuda::from_floats;
using lockstep::cuda::to_float;

struct Rowset {
  std::int64_t rows, classes, step;  ///< `step`: elements from row to row
  std::int64_t counted;              ///< rows from here on do not count
  std::int64_t ignored;              ///< label
  float smoothing;
};

constexpr float kLog2e = 1.44269504F, kLn2 = 0.693147181F;

__device__ __forceinline__ float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// A row's sum of e^x is 2^peak * sum. Whatever `peak` is rounded to, fma(x, log2(e), -peak) is a logit's
/// distance from it to its own rounding.
struct Normaliser {
  float peak, sum;
  __device__ __forceinline__ float exponent(float x) const { return fmaf(x, kLog2e, -peak); }
};

/// The same for a part of a row, with the plain sum of its logits. Starts finite: -inf is a logit like
/// others.
struct Partial : Normaliser {
  float plain;
  __device__ __forceinline__ void join(const Partial& other) {
    const float higher = fmaxf(peak, other.peak);
    sum = sum * power_of_2(peak - higher) + other.sum * power_of_2(other.peak - higher);
    peak = higher;
    plain += other.plain;
  }
  /// Takes logits in; those behind the first `present` are -inf.
  template <int kCount>
  __device__ __forceinline__ void take(const float (&x)[kCount], int present, bool smooth) {
    float highest = x[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) highest = fmaxf(highest, x[i]);
    if (highest * kLog2e > peak) {
      sum *= power_of_2(peak - highest * kLog2e);
      peak = highest * kLog2e;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum += power_of_2(exponent(x[i]));
    if (!smooth) return;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (i < present) plain += x[i];
  }
};
constexpr float kLowest = -3.0e38F;

__device__ __forceinline__ Partial warp_join(Partial mine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const Partial other{
        {__shfl_xor_sync(0xffffffffU, mine.peak, distance), __shfl_xor_sync(0xffffffffU, mine.sum, distance)},
        __shfl_xor_sync(0xffffffffU, mine.plain, distance)};
    mine.join(other);
  }
  return mine;
}

/// The threads that share a row: a warp or a block.
template <bool kBlock>
__device__ __forceinline__ std::int64_t own_row() {
  return kBlock ? blockIdx.x : static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
}
template <bool kBlock>
__device__ __forceinline__ int lane_of_row() {
  return kBlock ? threadIdx.x : threadIdx.x % 32;
}
template <bool kBlock>
__device__ __forceinline__ int lanes_of_row() {
  return kBlock ? blockDim.x : 32;
}

/// The logits of a lot as floats; those from `present` on are -inf.
template <class T, int kCount>
__device__ __forceinline__ void unpack(const T* from, int present, float (&x)[kCount]) {
  const auto lot = Lot<T, kCount>::load(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) x[i] = i < present ? to_float(lot.values[i]) : -INFINITY;
}

/// Sums over the row's elements, for all threads of the row.
template <class T, int kCount, bool kBlock>
__device__ Partial row_partial(const T* row, int classes, bool smooth) {
  Partial mine{{kLowest, 0}, 0};
  float x[kCount];
  const int whole = classes - classes % kCount;
  int at = lane_of_row<kBlock>() * kCount;
  for (; at < whole; at += lanes_of_row<kBlock>() * kCount) {
    unpack<T>(row + at, kCount, x);
    mine.take(x, kCount, smooth);
  }
  if (at == whole && whole < classes) {
    unpack<T>(row + at, classes - whole, x);
    mine.take(x, classes - whole, smooth);
  }
  mine = warp_join(mine);
  if constexpr (kBlock) {
    __shared__ Partial room[32];
    const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) room[warp] = mine;
    __syncthreads();
    const int lane = threadIdx.x % 32;
    mine = warp_join(lane < warps ? room[lane] : Partial{{kLowest, 0}, 0});
  }
  return mine;
}

/// What forward finds out about a row.
struct RowLoss {
  float loss;
  Normaliser normaliser;
};

/// Reads the row; afterwards all of its threads may overwrite it.
template <class T, int kCount, bool kBlock>
__device__ __forceinline__ RowLoss row_loss(const T* logits, std::int64_t target, const Rowset& set) {
  const bool valid = target >= 0 && target < set.classes;
  const float own_logit = valid ? to_float(logits[target]) : nanf("");
  const Partial all =
      row_partial<T, kCount, kBlock>(logits, static_cast<int>(set.classes), set.smoothing != 0);
  if constexpr (kBlock) {
    __syncthreads();
  } else {
    __syncwarp();
  }
  const float log_sum = log2f(all.sum);
  const float own = (log_sum - all.exponent(own_logit)) * kLn2;
  const float mean = (log_sum - all.exponent(all.plain / static_cast<float>(set.classes))) * kLn2;
  const float loss = set.smoothing == 0 ? own : (1 - set.smoothing) * own + set.smoothing * mean;
  return {loss < 0 ? 0.0F : loss, all};  // NaN stays NaN
}

/// What a row's gradient is made of.
template <class T, int kCount>
struct RowGradient {
  Normaliser normaliser;
  float scale, base, own;  ///< of 2^exponent, of every class, of the target
  int target;
  bool add;

  /// dx (+)= the gradient of a lot at `at`, 0 from `present` on.
  __device__ __forceinline__ void store(const T* x, T* dx, int at, int present) const {
    float g[kCount];
    unpack<T>(x + at, kCount, g);
#pragma unroll
    for (int i = 0; i < kCount; ++i) g[i] = fmaf(power_of_2(normaliser.exponent(g[i])), scale, base);
    if (target >= at && target < at + kCount) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) g[i] -= at + i == target ? own : 0.0F;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) g[i] = i < present ? g[i] : 0.0F;
    Lot<T, kCount> lot;
    if (add) {
      lot = Lot<T, kCount>::load(dx + at);
#pragma unroll
      for (int i = 0; i < kCount; ++i) g[i] += to_float(lot.values[i]);
    }
    from_floats(g, lot.values);
    lot.store(dx + at);
  }
};

/// dx (+)= the row's gradient, 0 where `factor` is; `dx` may be `x`.
template <class T, int kCount, bool kBlock>
__device__ __forceinline__ void store_gradient(const T* x, T* dx, bool add, std::int64_t target, float factor,
                                               const Normaliser& normaliser, const Rowset& set) {
  const int classes = static_cast<int>(set.classes), end = static_cast<int>(set.step);
  const int whole = factor == 0 ? 0 : classes - classes % kCount;
  const RowGradient<T, kCount> row{normaliser,
                                   factor / normaliser.sum,
                                   -factor * set.smoothing / static_cast<float>(set.classes),
                                   factor * (1 - set.smoothing),
                                   static_cast<int>(target),
                                   add};
  int at = lane_of_row<kBlock>() * kCount;
  for (; at < whole; at += lanes_of_row<kBlock>() * kCount) row.store(x, dx, at, kCount);
  for (; at < end; at += lanes_of_row<kBlock>() * kCount)
    row.store(x, dx, at, factor == 0 ? 0 : classes - at);
}

}  // namespace lockstep::models::cuda
