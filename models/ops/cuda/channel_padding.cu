#include "models/ops/cuda/channel_padding.h"

#include "core/cuda/element.cuh"
#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// A thread writes kWide adjacent elements of one row.
template <class T, int kWide>
struct alignas(sizeof(T) * kWide) Piece {
  T values[kWide];
};
template <class T, int kWide>
__global__ void pad_kernel(const T* from, Piece<T, kWide>* to, std::int64_t pieces, int width, int a_row) {
  for (std::int64_t i = first_item(); i < pieces; i += stride()) {
    const std::int64_t row = i / a_row;
    const int column = static_cast<int>(i - row * a_row) * kWide;
    Piece<T, kWide> piece;
#pragma unroll
    for (int k = 0; k < kWide; ++k)
      piece.values[k] = column + k < width ? from[row * width + column + k] : from_float<T>(0.0F);
    to[i] = piece;
  }
}

template <class T>
__global__ void unpad_kernel(const T* from, float* to, std::int64_t count, int width, int padded, bool add) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    const float value = to_float(from[i / width * padded + i % width]);
    to[i] = add ? to[i] + value : value;
  }
}

}  // namespace

void pad_channels(const void* from, void* to, const Rows& rows, std::int64_t padded, Dtype dtype,
                  const On& on) {
  constexpr int kWide = 4;
  const std::int64_t pieces = rows.count * padded / kWide;
  if (pieces == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    if constexpr (sizeof(T) <= sizeof(float))
      pad_kernel<T, kWide><<<blocks_for(pieces, on.device), kBlockThreads, 0, on.stream>>>(
          static_cast<const T*>(from), static_cast<Piece<T, kWide>*>(to), pieces,
          static_cast<int>(rows.width), static_cast<int>(padded / kWide));
  });
  check_launch("pad_channels");
}

void unpad_gradient(const void* from, Dtype dtype, float* to, const Rows& rows, std::int64_t padded, bool add,
                    const On& on) {
  const std::int64_t count = rows.count * rows.width;
  if (count == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    unpad_kernel<<<blocks_for(count, on.device), kBlockThreads, 0, on.stream>>>(
        static_cast<const T*>(from), to, count, static_cast<int>(rows.width), static_cast<int>(padded), add);
  });
  check_launch("unpad_gradient");
}

}  // namespace lockstep::models::cuda
