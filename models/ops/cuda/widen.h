// Gradients that a library left in the compute dtype become f32.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {

/// to (+)= from, element by element; `dtype` is that of `from`. Enqueues.
void widen(const void* from, Dtype dtype, float* to, std::int64_t count, bool add, const On& on);

}  // namespace lockstep::models::cuda
