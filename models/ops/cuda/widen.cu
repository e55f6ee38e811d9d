#include "models/ops/cuda/widen.h"

#include "core/cuda/element.cuh"
#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Four elements a thread and turn.
template <class T>
__global__ void widen_kernel(const T* from, float* to, std::int64_t count, bool add) {
  constexpr int kTurn = 4;
  for (std::int64_t i = first_item() * kTurn; i < count; i += stride() * kTurn) {
#pragma unroll
    for (int j = 0; j < kTurn; ++j) {
      if (i + j >= count) break;
      const float value = to_float(from[i + j]);
      to[i + j] = add ? to[i + j] + value : value;
    }
  }
}

}  // namespace

void widen(const void* from, Dtype dtype, float* to, std::int64_t count, bool add, const On& on) {
  if (count == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    widen_kernel<<<blocks_for(count / 4 + 1, on.device), kBlockThreads, 0, on.stream>>>(
        static_cast<const T*>(from), to, count, add);
  });
  check_launch("widen");
}

}  // namespace lockstep::models::cuda
