// Integers in blocks of 256 with one scale each, on the GPU. Sixteen threads take a block, thread t the
// values t, t + 16, ...: the lanes in which the host adds squares, and the columns of the rotation. A warp
// has two blocks; the second may lie behind the end and is then zeros that nobody stores.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/rotation.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

constexpr int kBlock = kInt8Shape.block;
constexpr int kColumns = kBlock / kRows;
constexpr int kTeams = kBlockThreads / kColumns;

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

template <int kBits, class T>
__global__ void __launch_bounds__(kBlockThreads)
    encode_kernel(const T* x, std::int64_t count, BlockShape::Places wire, float* residual,
                  BlockFormat format, std::uint32_t key) {
  __shared__ Stage stage;
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  for (std::int64_t pair = first_item() / 32; 2 * pair < blocks; pair += stride() / 32) {
    const Seat seat(pair, stage);
    const bool mine = seat.block < blocks;
    float v[kRows];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const std::int64_t i = seat.first + seat.place(row);
      v[row] = i < count ? to_float(x[i]) : 0.0f;
    }
    if (format.rotate) rotate(v, seat.column);
    const std::uint16_t scale = scale_for(format.length ? length(v) : largest(v), format.levels());
    const float step = scale_value(scale);
    std::int32_t q[kRows];
    quantise(v, inverse_of(step), seat, format, key, q);
    if (mine && seat.column == 0) wire.scales[seat.block] = scale;
    store_codes<kBits>(q, seat, mine, wire.codes);
    if (residual != nullptr) store_residual(q, step, seat, format.rotate, x, residual, count);
  }
}

using Payloads = CudaPayloads<BlockShape::Places>;

template <int kBits>
__device__ __forceinline__ void decode_block(const BlockShape::Places& wire, const Seat& seat, bool mine,
                                             bool rotated, float (&v)[kRows]) {
  const float step = mine ? scale_value(wire.scales[seat.block]) : 0.0f;
  load_codes<kBits>(wire.codes, seat, mine, v);
#pragma unroll
  for (int row = 0; row < kRows; ++row) v[row] = v[row] * step;
  if (rotated) rotate_back(v, seat.column);
}

template <int kBits>
__global__ void __launch_bounds__(kBlockThreads)
    decode_kernel(Payloads wires, float* out, std::int64_t count, bool rotated) {
  __shared__ Stage stage;
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  for (std::int64_t pair = first_item() / 32; 2 * pair < blocks; pair += stride() / 32) {
    const Seat seat(pair, stage);
    const bool mine = seat.block < blocks;
    float sums[kRows];
    for (int w = 0; w < wires.count; ++w) {
      float v[kRows];
      decode_block<kBits>(wires.of[w], seat, mine, rotated, v);
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        const std::int64_t i = seat.first + seat.place(row);
        if (w == 0 && wires.add) sums[row] = i < count ? out[i] : 0.0f;
        sums[row] = w == 0 && !wires.add ? v[row] : sums[row] + v[row];
      }
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const std::int64_t i = seat.first + seat.place(row);
      if (i < count) out[i] = wires.factor * sums[row];
    }
  }
}

int grid_for(std::int64_t count, Device device) {
  return blocks_for((count + kBlock - 1) / kBlock * kColumns, device);
}

template <int kBits>
void encode(FlatSpan values, BlockShape::Places wire, FlatSpan residual, const BlockFormat& format,
            std::uint32_t key, Stream& stream) {
  with_values(values, [&](const auto* x) {
    encode_kernel<kBits><<<grid_for(values.count, stream.device()), kBlockThreads, 0, native(stream)>>>(
        x, values.count, wire, residual.count > 0 ? floats_of(residual) : nullptr, format, key);
  });
  check_launch("encode integers");
}

template <int kBits>
void decode(const Payloads& wires, FlatSpan out, const BlockFormat& format, Stream& stream) {
  decode_kernel<kBits><<<grid_for(out.count, stream.device()), kBlockThreads, 0, native(stream)>>>(
      wires, floats_of(out), out.count, format.rotate);
  check_launch("decode integers");
}

}  // namespace

const CudaBlockLoops cuda_int8_loops{kInt8Shape, encode<8>, decode<8>};
const CudaBlockLoops cuda_int4_loops{kInt4Shape, encode<4>, decode<4>};

}  // namespace lockstep::comm
