// Layer norm of rows that no warp can hold, or that packs of 16 bytes do not divide: a block each, read again
// from the cache. For layer_norm.cu.
#pragma once

#include "models/ops/cuda/layer_norm_rows.cuh"

namespace lockstep::models::cuda {

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
    const float hat = m.normalised(to_float(x[first + i]));
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

}  // namespace lockstep::models::cuda
