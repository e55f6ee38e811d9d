// What the kernels of this folder share: threads as items of a grid-stride loop.
#pragma once

#include <cassert>
#include <cstdint>

#include "comm/compress/codes.h"
#include "core/cuda/element.cuh"
#include "core/flat_span.h"

namespace lockstep::comm::gpu {

using lockstep::cuda::block_sum;
using lockstep::cuda::blocks_for;
using lockstep::cuda::check_launch;
using lockstep::cuda::kBlockThreads;
using lockstep::cuda::native;
using lockstep::cuda::to_float;

__device__ __forceinline__ std::int64_t first_item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t stride() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

template <class Body>
__global__ void items_kernel(std::int64_t count, Body body) {
  for (std::int64_t i = first_item(); i < count; i += stride()) body(i);
}

/// Enqueues body(i) for i in [0, count).
template <class Body>
void each_item(std::int64_t count, Stream& stream, const char* name, Body body) {
  if (count == 0) return;
  items_kernel<<<blocks_for(count, stream.device()), kBlockThreads, 0, native(stream)>>>(count, body);
  check_launch(name);
}

/// Calls visit(const T*) with the values of a codec: f32 or bf16.
template <class Visit>
void with_values(FlatSpan values, Visit&& visit) {
  if (values.dtype == Dtype::f32) return visit(static_cast<const float*>(values.data));
  assert(values.dtype == Dtype::bf16);
  visit(static_cast<const __nv_bfloat16*>(values.data));
}

inline float* floats_of(FlatSpan span) { return static_cast<float*>(span.data); }
inline std::int32_t* integers_of(FlatSpan span) { return static_cast<std::int32_t*>(span.data); }

}  // namespace lockstep::comm::gpu
