// Between the host's dense f32 and this backend's activations, and the mean of the losses that count.
#pragma once

#include <cuda_runtime_api.h>

#include "models/ops/kernel.h"

namespace lockstep::models::cuda {

/// stored = dense (f32, canonical order, on the GPU) in the layout's order and dtype; enqueues.
void store_dense(const float* dense, const TensorLayout& layout, void* stored, Device device,
                 cudaStream_t stream);
void load_dense(const void* stored, const TensorLayout& layout, float* dense, Device device,
                cudaStream_t stream);
/// *sum += mean of the losses that are not kIgnoredRow, in double, in a fixed order.
void add_mean(const float* losses, std::int64_t count, float* sum, cudaStream_t stream);

}  // namespace lockstep::models::cuda
