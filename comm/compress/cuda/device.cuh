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
using lockstep::cuda::first_item;
using lockstep::cuda::kBlockThreads;
using lockstep::cuda::native;
using lockstep::cuda::stride;
using lockstep::cuda::to_float;

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

constexpr int kBatch = 4;  // items whose loads are on their way together: one alone leaves memory idle

template <class Load, class Store>
__global__ void batches_kernel(std::int64_t count, Load load, Store store) {
  for (std::int64_t i = first_item(); i < count; i += kBatch * stride()) {
    float2 read[kBatch];
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (i + k * stride() < count) read[k] = load(i + k * stride());
    }
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      if (i + k * stride() < count) store(i + k * stride(), read[k]);
    }
  }
}

/// Enqueues store(i, load(i)) for i in [0, count), for the loops that memory bounds; load returns a float2.
template <class Load, class Store>
void each_batch(std::int64_t count, Stream& stream, const char* name, Load load, Store store) {
  if (count == 0) return;
  const int blocks = blocks_for((count + kBatch - 1) / kBatch, stream.device());
  batches_kernel<<<blocks, kBlockThreads, 0, native(stream)>>>(count, load, store);
  check_launch(name);
}

/// Calls visit(const T*) with the values of a codec: f32 or bf16.
template <class Visit>
void with_values(FlatSpan values, Visit&& visit) {
  if (values.dtype == Dtype::f32) return visit(static_cast<const float*>(values.data));
  assert(values.dtype == Dtype::bf16);
  visit(static_cast<const __nv_bfloat16*>(values.data));
}

/// A count (i64) that many threads add to.
using Counter = unsigned long long;

/// Null without one.
inline Counter* counter_of(FlatSpan span) {
  return span.count == 1 ? static_cast<Counter*>(span.data) : nullptr;
}

/// Adds what a thread saw of values that are not finite.
__device__ __forceinline__ void report_faults(int faults, Counter* count) {
  if (faults > 0) atomicAdd(count, static_cast<Counter>(faults));
}

/// Blocks for loops that wait for a link to another GPU: few fill it.
inline int link_blocks_for(std::int64_t items, Device device) {
  constexpr std::int64_t kEach = 4;
  const std::int64_t wanted = (items + kBlockThreads - 1) / kBlockThreads;
  return static_cast<int>(
      std::clamp<std::int64_t>(wanted, 1, kEach * lockstep::cuda::multiprocessors(device)));
}

inline float* floats_of(FlatSpan span) { return static_cast<float*>(span.data); }
inline std::int32_t* integers_of(FlatSpan span) { return static_cast<std::int32_t*>(span.data); }

}  // namespace lockstep::comm::gpu
