// Loops over rows that several kernels need: bias with activation, an activation's gradient, sums of columns
// (bias gradients), passing a gradient on. All enqueue; `dtype` is that of the activations.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/device.h"
#include "core/dtype.h"
#include "models/ops/cuda/activation.cuh"
#include "models/ops/cuda/gradient.h"
#include "models/ops/image_order.h"

namespace lockstep::models::cuda {

/// Where rowwise work runs.
struct On {
  Device device;
  cudaStream_t stream;
};

/// x = activation(x + bias) in place; x + bias is stored in `kept` when that is not null. `bias`: f32 or
/// null.
void bias_activation(void* x, void* kept, const float* bias, const Rows& rows, Dtype dtype,
                     const Epilogue& epilogue, const On& on);

/// gradient = gradient * activation'(seen) in place; `seen` as reads_input() says.
void activation_gradient(const void* seen, void* gradient, std::int64_t count, Dtype dtype,
                         const Epilogue& epilogue, const On& on);

/// Scratch bytes that a sum of columns needs.
[[nodiscard]] std::size_t column_sums_bytes(const Rows& rows);
/// sums (+)= column sums of x, in an order that the shape alone fixes.
void column_sums(const void* x, const Rows& rows, Dtype dtype, const GradientSlot& sums, void* scratch,
                 const On& on);

/// to (+)= from; they may be the same memory.
void pass_on(const void* from, void* to, std::int64_t count, Dtype dtype, bool add, const On& on);

/// Made-up numbers in [-1, 1).
void fill_noise(void* x, Dtype dtype, std::int64_t count, Device device, cudaStream_t stream);

}  // namespace lockstep::models::cuda
