// Sums over an array on the GPU. The grid depends on the count alone and partial sums are added in block
// order by the last block to come, so bits repeat.
#include "core/cuda/element.cuh"
#include "core/vector/cuda/cuda_kernels.h"

namespace lockstep::vector {

namespace {

using namespace lockstep::cuda;

bool aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

/// Head of a stream's scratch: how many blocks are done. Partial results lie behind it.
struct Ticket {
  unsigned done;
};
constexpr std::size_t kPartialOffset = 256;
constexpr int kMostPartials = 1024;

/// Adds the blocks' partial results in block order; the last block to come writes the total.
template <class Result>
__device__ void finish_reduction(Result mine, void* scratch, Result* result, Result* room) {
  auto* ticket = static_cast<Ticket*>(scratch);
  auto* partial = reinterpret_cast<Result*>(static_cast<char*>(scratch) + kPartialOffset);
  __shared__ bool last;
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = mine;
    __threadfence();
    last = atomicAdd(&ticket->done, 1U) + 1 == gridDim.x;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  Result total{};
  for (unsigned block = threadIdx.x; block < gridDim.x; block += blockDim.x)
    total += static_cast<volatile Result*>(partial)[block];
  total = block_sum(total, room);
  if (threadIdx.x != 0) return;
  *result = total;
  ticket->done = 0;
}

template <class T>
__global__ void squares_kernel(const T* x, std::int64_t count, void* scratch, double* result) {
  __shared__ double room[32];
  double sum = 0;
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    double value;
    if constexpr (sizeof(T) == 8) {
      value = x[i];
    } else {
      value = to_float(x[i]);
    }
    sum += value * value;
  }
  finish_reduction(block_sum(sum, room), scratch, result, room);
}

/// The hot one: packs, and float inside a pack (eight squares of f32 lose nothing that matters).
__global__ void squares_f32_kernel(const float* x, std::int64_t count, void* scratch, double* result) {
  __shared__ double room[32];
  double sum = 0;
  const std::int64_t quads = count / 4;
  for (std::int64_t i = first_item(); i < quads; i += stride()) {
    const float4 v = reinterpret_cast<const float4*>(x)[i];
    sum += static_cast<double>(v.x) * v.x + static_cast<double>(v.y) * v.y + static_cast<double>(v.z) * v.z +
           static_cast<double>(v.w) * v.w;
  }
  if (const std::int64_t i = quads * 4 + first_item(); i < count) sum += static_cast<double>(x[i]) * x[i];
  finish_reduction(block_sum(sum, room), scratch, result, room);
}

/// As hot where gradients are halves.
template <class T>
__global__ void squares_packs_kernel(const T* x, std::int64_t count, void* scratch, double* result) {
  __shared__ double room[32];
  double sum = 0;
  const std::int64_t packs = count / Pack<T>::kCount;
  for (std::int64_t i = first_item(); i < packs; i += stride()) {
    const auto pack = Pack<T>::load(x + i * Pack<T>::kCount);
#pragma unroll
    for (int k = 0; k < Pack<T>::kCount; ++k) {
      const double value = to_float(pack.values[k]);
      sum += value * value;
    }
  }
  if (const std::int64_t i = packs * Pack<T>::kCount + first_item(); i < count) {
    const double value = to_float(x[i]);
    sum += value * value;
  }
  finish_reduction(block_sum(sum, room), scratch, result, room);
}

__device__ __forceinline__ bool finite(double x) { return isfinite(x); }
__device__ __forceinline__ bool finite(float x) { return isfinite(x); }
__device__ __forceinline__ bool finite(__nv_bfloat16 x) { return isfinite(__bfloat162float(x)); }
__device__ __forceinline__ bool finite(__half x) { return isfinite(__half2float(x)); }

template <class T>
__global__ void nonfinite_kernel(const T* x, std::int64_t count, void* scratch, long long* result) {
  __shared__ long long room[32];
  long long found = 0;
  for (std::int64_t i = first_item(); i < count; i += stride()) found += finite(x[i]) ? 0 : 1;
  finish_reduction(block_sum(found, room), scratch, result, room);
}

/// Depends on the count alone, so that sums repeat on any device.
int reduction_blocks(std::int64_t count) {
  const std::int64_t wanted = (count + 4095) / 4096;
  return static_cast<int>(std::clamp<std::int64_t>(wanted, 1, kMostPartials));
}

}  // namespace

void cuda_sum_of_squares(FlatSpan x, FlatSpan result, Stream& stream) {
  const cudaStream_t on = native(stream);
  const int blocks = reduction_blocks(x.count);
  auto* total = static_cast<double*>(result.data);
  if (x.dtype == Dtype::f32 && aligned(x.data)) {
    squares_f32_kernel<<<blocks, kBlockThreads, 0, on>>>(static_cast<const float*>(x.data), x.count,
                                                         scratch(stream), total);
  } else if (x.dtype == Dtype::bf16 && aligned(x.data)) {
    squares_packs_kernel<<<blocks, kBlockThreads, 0, on>>>(static_cast<const __nv_bfloat16*>(x.data), x.count,
                                                           scratch(stream), total);
  } else {
    with_device_float(x.dtype, [&]<class T>(T*) {
      squares_kernel<<<blocks, kBlockThreads, 0, on>>>(static_cast<const T*>(x.data), x.count,
                                                       scratch(stream), total);
    });
  }
  check_launch("sum_of_squares");
}

void cuda_count_nonfinite(FlatSpan x, FlatSpan result, Stream& stream) {
  with_device_float(x.dtype, [&]<class T>(T*) {
    nonfinite_kernel<<<reduction_blocks(x.count), kBlockThreads, 0, native(stream)>>>(
        static_cast<const T*>(x.data), x.count, scratch(stream), static_cast<long long*>(result.data));
  });
  check_launch("count_nonfinite");
}

}  // namespace lockstep::vector
