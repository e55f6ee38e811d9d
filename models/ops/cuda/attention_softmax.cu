#include "core/cuda/element.cuh"
#include "models/ops/cuda/attention_softmax.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

constexpr int kWarps = 8;

/// The row of a warp: its time, where it lies, and where its elements lie among the sample's, which key
/// dropout.
struct Row {
  std::int64_t number, time, sample;
  std::uint64_t in_sample;
  __device__ __forceinline__ explicit Row(const ScoreRows& rows)
      : number(static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32), time(number % rows.time) {
    const std::int64_t one = number / rows.time;
    sample = rows.samples ? one : rows.other;
    const std::int64_t head = rows.samples ? rows.other : one;
    in_sample = static_cast<std::uint64_t>((head * rows.time + time) * rows.time);
  }
  __device__ __forceinline__ bool inside(const ScoreRows& rows) const {
    return number < rows.many * rows.time;
  }
  __device__ __forceinline__ float factor(const Drops& drops, std::int64_t col) const {
    return drop_factor(drops, sample, in_sample + static_cast<std::uint64_t>(col));
  }
};

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, distance));
  return value;
}

__device__ __forceinline__ float probability(float score, const LogSum& sum) {
  return __expf(score - sum.peak - sum.log_sum);
}

template <class T>
__device__ __forceinline__ void store_row(const float* scores, T* probabilities, const LogSum& sum,
                                          const Row& row, const ScoreRows& rows, const Drops& drops) {
  const std::int64_t first = row.number * rows.time;
  for (std::int64_t col = threadIdx.x % 32; col < rows.time; col += 32) {
    float p = 0;
    if (col <= row.time) p = probability(scores[first + col], sum) * row.factor(drops, col);
    probabilities[first + col] = from_float<T>(p);
  }
}

template <class T>
__global__ void softmax_kernel(const float* scores, T* probabilities, LogSum* sums, ScoreRows rows,
                               Drops drops) {
  const Row row(rows);
  if (!row.inside(rows)) return;
  const float* mine = scores + row.number * rows.time;
  float peak = -INFINITY, sum = 0;
  for (std::int64_t col = threadIdx.x % 32; col <= row.time; col += 32) peak = fmaxf(peak, mine[col]);
  peak = warp_max(peak);
  for (std::int64_t col = threadIdx.x % 32; col <= row.time; col += 32) sum += __expf(mine[col] - peak);
  const LogSum all{peak, logf(warp_sum(sum))};
  if (threadIdx.x % 32 == 0) sums[row.number] = all;
  store_row(scores, probabilities, all, row, rows, drops);
}

template <class T>
__global__ void probabilities_kernel(const float* scores, T* probabilities, const LogSum* sums,
                                     ScoreRows rows, Drops drops) {
  const Row row(rows);
  if (row.inside(rows)) store_row(scores, probabilities, sums[row.number], row, rows, drops);
}

template <class T>
__global__ void gradient_kernel(const float* scores, const float* probability_gradient, T* gradient,
                                const LogSum* sums, ScoreRows rows, Drops drops) {
  const Row row(rows);
  if (!row.inside(rows)) return;
  const std::int64_t first = row.number * rows.time;
  const LogSum sum = sums[row.number];
  const auto dropped = [&](std::int64_t col) {
    return probability_gradient[first + col] * row.factor(drops, col);
  };
  float weighted = 0;
  for (std::int64_t col = threadIdx.x % 32; col <= row.time; col += 32)
    weighted += probability(scores[first + col], sum) * dropped(col);
  weighted = warp_sum(weighted);
  for (std::int64_t col = threadIdx.x % 32; col < rows.time; col += 32) {
    float d = 0;
    if (col <= row.time) d = probability(scores[first + col], sum) * (dropped(col) - weighted);
    gradient[first + col] = from_float<T>(d);
  }
}

unsigned grid_of(const ScoreRows& rows) {
  return static_cast<unsigned>((rows.many * rows.time + kWarps - 1) / kWarps);
}

}  // namespace

void causal_softmax(const float* scores, void* probabilities, LogSum* sums, const ScoreRows& rows,
                    const Drops& drops, cudaStream_t stream) {
  with_device_float(rows.dtype, [&]<class T>(T*) {
    softmax_kernel<<<grid_of(rows), 32 * kWarps, 0, stream>>>(scores, static_cast<T*>(probabilities), sums,
                                                              rows, drops);
  });
  check_launch("attention softmax");
}

void causal_probabilities(const float* scores, void* probabilities, const LogSum* sums, const ScoreRows& rows,
                          const Drops& drops, cudaStream_t stream) {
  with_device_float(rows.dtype, [&]<class T>(T*) {
    probabilities_kernel<<<grid_of(rows), 32 * kWarps, 0, stream>>>(scores, static_cast<T*>(probabilities),
                                                                    sums, rows, drops);
  });
  check_launch("attention probabilities");
}

void causal_gradient(const float* scores, const float* probability_gradient, void* gradient,
                     const LogSum* sums, const ScoreRows& rows, const Drops& drops, cudaStream_t stream) {
  with_device_float(rows.dtype, [&]<class T>(T*) {
    gradient_kernel<<<grid_of(rows), 32 * kWarps, 0, stream>>>(scores, probability_gradient,
                                                               static_cast<T*>(gradient), sums, rows, drops);
  });
  check_launch("attention gradient");
}

}  // namespace lockstep::models::cuda
