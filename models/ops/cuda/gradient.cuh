// Writing to a slot's gradient, in whatever it is kept. For .cu files.
#pragma once

#include <cuda_bf16.h>

#include "models/ops/cuda/gradient.h"

namespace lockstep::models::cuda {

/// Element `at` of the slot (+)= value.
__device__ __forceinline__ void put(const GradientSlot& slot, std::int64_t at, float value) {
  if (slot.narrow) {
    auto* to = static_cast<__nv_bfloat16*>(slot.data) + at;
    *to = __float2bfloat16_rn(slot.add ? __bfloat162float(*to) + value : value);
  } else {
    auto* to = static_cast<float*>(slot.data) + at;
    *to = slot.add ? *to + value : value;
  }
}

}  // namespace lockstep::models::cuda
