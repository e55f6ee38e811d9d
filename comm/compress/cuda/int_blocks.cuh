// Integers in blocks of 256 with one scale each, as a warp of the GPU works on them. Sixteen threads take a
// block, thread t the values t, t + 16, ...: the lanes in which the host adds squares, and the columns of the
// rotation. A warp has two blocks; the second may lie behind the end and is then zeros that nobody stores.
#pragma once

#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/rotation.cuh"

namespace lockstep::comm::gpu {

inline constexpr int kBlock = kInt8Shape.block;
inline constexpr int kColumns = kBlock / kRows;
inline constexpr int kTeams = kBlockThreads / kColumns;

/// Codes on their way between the columns and 16 bytes a thread. One row a team.
struct Stage {
  uint4 of[kTeams][kColumns];
};

/// Where a thread works.
struct Seat {
  int column;
  std::int64_t block;
  std::int64_t first;  ///< value of the block
  std::uint8_t* bytes;

  __device__ Seat(std::int64_t pair, Stage& stage)
      : column(static_cast<int>(threadIdx.x) % kColumns),
        block(2 * pair + static_cast<int>(threadIdx.x) % 32 / kColumns),
        first(block * kBlock),
        bytes(reinterpret_cast<std::uint8_t*>(stage.of[threadIdx.x / kColumns])) {}
  __device__ __forceinline__ int place(int row) const { return row * kColumns + column; }
};

/// Calls visit(seat, inside) for the blocks of this thread's grid-stride loop over `count` values, whole
/// warps together; not `inside`: the block lies behind the end.
template <class Visit>
__device__ __forceinline__ void each_seat(std::int64_t count, Visit visit) {
  __shared__ Stage stage;
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  for (std::int64_t pair = first_item() / 32; 2 * pair < blocks; pair += stride() / 32) {
    const Seat seat(pair, stage);
    visit(seat, seat.block < blocks);
  }
}

__device__ __forceinline__ float largest(const float (&x)[kRows]) {
  std::uint32_t most = 0;
#pragma unroll
  for (int row = 0; row < kRows; ++row) most = max(most, magnitude_bits(x[row]));
#pragma unroll
  for (int width = kColumns / 2; width > 0; width /= 2)
    most = max(most, __shfl_xor_sync(kWholeWarp, most, width, kColumns));
  return std::bit_cast<float>(most);
}

/// The host adds lanes l and l + 8, then l + 4, ...; here all threads do, which changes no sum.
__device__ __forceinline__ float length(const float (&x)[kRows]) {
  float sum = 0;
#pragma unroll
  for (int row = 0; row < kRows; ++row) sum += x[row] * x[row];
#pragma unroll
  for (int width = kColumns / 2; width > 0; width /= 2)
    sum += __shfl_xor_sync(kWholeWarp, sum, width, kColumns);
  return __fsqrt_rn(sum);
}

template <int kBits>
__device__ __forceinline__ void store_codes(const std::int32_t (&q)[kRows], const Seat& seat, bool mine,
                                            std::uint8_t* codes) {
  __syncwarp();
  if constexpr (kBits == 8) {
#pragma unroll
    for (int row = 0; row < kRows; ++row) seat.bytes[seat.place(row)] = static_cast<std::uint8_t>(q[row]);
  } else {
#pragma unroll
    for (int row = 0; row < kRows / 2; ++row)
      seat.bytes[seat.place(row)] = static_cast<std::uint8_t>((q[row] + 8) | ((q[row + kRows / 2] + 8) << 4));
  }
  __syncwarp();
  if (!mine) return;
  if constexpr (kBits == 8) {
    reinterpret_cast<uint4*>(codes + seat.block * kBlock)[seat.column] =
        reinterpret_cast<const uint4*>(seat.bytes)[seat.column];
  } else {
    reinterpret_cast<uint2*>(codes + seat.block * (kBlock / 2))[seat.column] =
        reinterpret_cast<const uint2*>(seat.bytes)[seat.column];
  }
}

template <int kBits>
__device__ __forceinline__ void load_codes(const std::uint8_t* codes, const Seat& seat, bool mine,
                                           float (&x)[kRows]) {
  __syncwarp();
  if constexpr (kBits == 8) {
    reinterpret_cast<uint4*>(seat.bytes)[seat.column] =
        mine ? reinterpret_cast<const uint4*>(codes + seat.block * kBlock)[seat.column] : uint4{};
  } else {
    reinterpret_cast<uint2*>(seat.bytes)[seat.column] =
        mine ? reinterpret_cast<const uint2*>(codes + seat.block * (kBlock / 2))[seat.column] : uint2{};
  }
  __syncwarp();
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    if constexpr (kBits == 8) {
      x[row] = static_cast<float>(static_cast<std::int8_t>(seat.bytes[seat.place(row)]));
    } else {
      const int both = seat.bytes[seat.place(row % (kRows / 2))];
      x[row] = static_cast<float>((row < kRows / 2 ? both & 15 : both >> 4) - 8);
    }
  }
}

__device__ __forceinline__ void quantise(const float (&v)[kRows], float inverse, const Seat& seat,
                                         const BlockFormat& format, std::uint32_t key,
                                         std::int32_t (&q)[kRows]) {
  if (format.stochastic) {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const auto element = static_cast<std::uint32_t>(seat.first + seat.place(row));
      q[row] = random_code(v[row] * inverse, random_unit(key, element), format.levels());
    }
  } else {
#pragma unroll
    for (int row = 0; row < kRows; ++row) q[row] = nearest_code(v[row] * inverse);
  }
}

/// residual = x - decoded; x is read again, which spares 16 registers.
template <class T>
__device__ __forceinline__ void store_residual(const std::int32_t (&q)[kRows], float step, const Seat& seat,
                                               bool rotated, const T* x, float* residual,
                                               std::int64_t count) {
  float decoded[kRows];
#pragma unroll
  for (int row = 0; row < kRows; ++row) decoded[row] = static_cast<float>(q[row]) * step;
  if (rotated) rotate_back(decoded, seat.column);
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const std::int64_t i = seat.first + seat.place(row);
    if (i < count) residual[i] = to_float(x[i]) - decoded[row];
  }
}

template <int kBits>
__device__ __forceinline__ void decode_block(const BlockShape::Places& wire, const Seat& seat, bool mine,
                                             bool rotated, float (&v)[kRows]) {
  const float step = mine ? scale_value(wire.scales[seat.block]) : 0.0f;
  load_codes<kBits>(wire.codes, seat, mine, v);
#pragma unroll
  for (int row = 0; row < kRows; ++row) v[row] = v[row] * step;
  if (rotated) rotate_back(v, seat.column);
}

inline int grid_for(std::int64_t count, Device device) {
  return blocks_for((count + kBlock - 1) / kBlock * kColumns, device);
}

}  // namespace lockstep::comm::gpu
