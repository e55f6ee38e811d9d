// What the losses share: how much a row's gradient counts.
#pragma once

#include "models/ops/kernel.h"

#ifdef __CUDACC__
#include "core/cuda/element.cuh"

namespace lockstep::models::cuda {

/// *share = loss scale / sum of the block's counts. Whole block of at most 1024 threads.
static __device__ void store_share(int counted, const float* loss_scale, float* share) {
  __shared__ int room[32];
  counted = lockstep::cuda::block_sum(counted, room);
  if (threadIdx.x == 0)
    *share = (loss_scale == nullptr ? 1.0F : *loss_scale) / static_cast<float>(max(counted, 1));
}

/// The same from losses. One block.
static __global__ void __launch_bounds__(1024)
    share_kernel(const float* losses, std::int64_t rows, const float* loss_scale, float* share) {
  int counted = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += blockDim.x) counted += losses[row] != kIgnoredRow;
  store_share(counted, loss_scale, share);
}

}  // namespace lockstep::models::cuda
#endif
