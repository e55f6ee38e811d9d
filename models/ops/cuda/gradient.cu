#include "models/ops/cuda/gradient.h"

#include "core/cuda/element.cuh"
#include "models/ops/cuda/gradient.cuh"
#include "models/ops/cuda/lot.cuh"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Four elements a thread and turn.
template <class T>
__global__ void put_kernel(const T* from, GradientSlot to, std::int64_t count) {
  constexpr int kTurn = 4;
  for (std::int64_t i = first_item() * kTurn; i < count; i += stride() * kTurn) {
#pragma unroll
    for (int j = 0; j < kTurn; ++j) {
      if (i + j >= count) break;
      put(to, i + j, to_float(from[i + j]));
    }
  }
}

}  // namespace

void put_gradient(const void* from, Dtype dtype, const GradientSlot& to, std::int64_t count, const On& on) {
  if (count == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    put_kernel<<<blocks_for(count / 4 + 1, on.device), kBlockThreads, 0, on.stream>>>(
        static_cast<const T*>(from), to, count);
  });
  check_launch("put_gradient");
}

}  // namespace lockstep::models::cuda
