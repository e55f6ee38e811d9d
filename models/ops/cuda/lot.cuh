// How element-wise kernels walk: over packs of 16 bytes where sizes and addresses allow, else over single
// elements; a grid strides over them.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/cuda/element.cuh"

namespace lockstep::models::cuda {

using lockstep::cuda::first_item;
using lockstep::cuda::stride;

/// A pack, or a single element.
template <class T, int kCount>
struct alignas(kCount > 1 ? 16 : alignof(T)) Lot {
  T values[kCount];
  __device__ __forceinline__ static Lot load(const T* from) {
    Lot lot;
    if constexpr (kCount > 1) {
      *reinterpret_cast<uint4*>(lot.values) = *reinterpret_cast<const uint4*>(from);
    } else {
      lot.values[0] = *from;
    }
    return lot;
  }
  __device__ __forceinline__ void store(T* to) const {
    if constexpr (kCount > 1) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(values);
    } else {
      *to = values[0];
    }
  }
};

[[nodiscard]] inline bool aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

/// Calls run(elements of a lot, as a constant): packs where they divide `width` and the addresses are
/// aligned.
template <class T, class Run>
void with_lots(std::int64_t width, bool addresses_aligned, Run&& run) {
  constexpr int kPack = lockstep::cuda::Pack<T>::kCount;
  if (width % kPack == 0 && addresses_aligned) return run(std::integral_constant<int, kPack>{});
  run(std::integral_constant<int, 1>{});
}

}  // namespace lockstep::models::cuda
