// Which of attention's probabilities dropout keeps, written out for cuDNN's fused kernels.
#pragma once

#include "models/ops/cuda/drops.cuh"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {

constexpr std::int64_t kMostMaskSamples = 65535;
constexpr std::int64_t kMostMaskElements = std::int64_t{1} << 31;

/// Masks of samples `first` to `first + samples` of the microbatch: no more than kMostMaskSamples, of no more
/// than kMostMaskElements each.
struct MaskRows {
  std::int64_t samples, heads, time, first;
  Dtype dtype;
};

/// mask[samples, heads, time, time] = the factor of kept probabilities, 0 where one is dropped or lies behind
/// the diagonal. Enqueues; `drops` must be active.
void keep_mask(void* mask, const MaskRows& rows, const Drops& drops, const On& on);

}  // namespace lockstep::models::cuda
