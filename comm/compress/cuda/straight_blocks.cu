// int8 blocks written into other GPUs' memory, and an owner's turn in one pass (comm/compress/straight.h).
#include "comm/compress/cuda/int_blocks.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

constexpr int kBits = 8;

/// Values of a seat as floats; counts those that are not finite.
__device__ __forceinline__ void load_values(const float* x, std::int64_t count, const Seat& seat,
                                            float (&v)[kRows], int& faults) {
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const std::int64_t i = seat.first + seat.place(row);
    v[row] = i < count ? x[i] : 0.0f;
    faults += is_nonfinite(v[row]);
  }
}

/// The block's scale and its codes.
__device__ __forceinline__ std::uint16_t encode_block(const float (&v)[kRows], const Seat& seat,
                                                      const BlockFormat& format, std::int32_t (&q)[kRows]) {
  const std::uint16_t scale = scale_for(format.length ? length(v) : largest(v), format.levels());
  quantise(v, inverse_of(scale_value(scale)), seat, format, 0, q);
  return scale;
}

__device__ __forceinline__ void store_block(std::uint16_t scale, const std::int32_t (&q)[kRows],
                                            const Seat& seat, bool mine, const BlockShape::Places& wire) {
  if (mine && seat.column == 0) wire.scales[seat.block] = scale;
  store_codes<kBits>(q, seat, mine, wire.codes);
}

__global__ void __launch_bounds__(kBlockThreads)
    push_kernel(const float* x, std::int64_t count, BlockShape::Places wire, BlockFormat format,
                Counter* nonfinite) {
  int faults = 0;
  each_seat(count, [&](const Seat& seat, bool inside) {
    float v[kRows];
    std::int32_t q[kRows];
    load_values(x, count, seat, v, faults);
    const std::uint16_t scale = encode_block(v, seat, format, q);
    store_block(scale, q, seat, inside, wire);
  });
  report_faults(faults, nonfinite);
}

using Owner = CudaOwner<BlockShape::Places>;

/// sums += what the seat's values decode to on rank `rank`; on the owner's that is what `mine` rounds to.
__device__ __forceinline__ void add_rank(const Owner& turn, int rank, const Seat& seat, bool inside,
                                         const float (&mine)[kRows], float (&sums)[kRows]) {
  float v[kRows];
  if (rank != turn.owner) decode_block<kBits>(turn.wires[rank], seat, inside, false, v);
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const float value = rank == turn.owner ? mine[row] : v[row];
    sums[row] = rank == 0 ? value : sums[row] + value;
  }
}

__global__ void __launch_bounds__(kBlockThreads)
    own_kernel(const __grid_constant__ Owner turn, float* x, std::int64_t count, BlockFormat format,
               Counter* nonfinite) {
  int faults = 0;
  each_seat(count, [&](const Seat& seat, bool inside) {
    float mine[kRows], sums[kRows];
    std::int32_t q[kRows];
    load_values(x, count, seat, mine, faults);
    const float own_step = scale_value(encode_block(mine, seat, format, q));
#pragma unroll
    for (int row = 0; row < kRows; ++row) mine[row] = static_cast<float>(q[row]) * own_step;
    for (int rank = 0; rank < turn.ranks; ++rank) add_rank(turn, rank, seat, inside, mine, sums);
#pragma unroll
    for (int row = 0; row < kRows; ++row) sums[row] = turn.share * sums[row];
    const std::uint16_t scale = encode_block(sums, seat, format, q);
    for (int target = 0; target < turn.wanted; ++target)
      store_block(scale, q, seat, inside, turn.targets[target]);
    const float step = scale_value(scale);
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const std::int64_t i = seat.first + seat.place(row);
      if (i < count) x[i] = turn.factor * (static_cast<float>(q[row]) * step);
    }
  });
  report_faults(faults, nonfinite);
}

int link_grid_for(std::int64_t count, Device device) {
  return link_blocks_for((count + kBlock - 1) / kBlock * kColumns, device);
}

}  // namespace

void push_int8(FlatSpan values, BlockShape::Places wire, const BlockFormat& format, FlatSpan nonfinite,
               Stream& stream) {
  push_kernel<<<link_grid_for(values.count, stream.device()), kBlockThreads, 0, native(stream)>>>(
      floats_of(values), values.count, wire, format, counter_of(nonfinite));
  check_launch("encode integers into another rank's memory");
}

void own_int8(const CudaOwner<BlockShape::Places>& turn, FlatSpan values, const BlockFormat& format,
              FlatSpan nonfinite, Stream& stream) {
  own_kernel<<<link_grid_for(values.count, stream.device()), kBlockThreads, 0, native(stream)>>>(
      turn, floats_of(values), values.count, format, counter_of(nonfinite));
  check_launch("sum of integers by their owner");
}

}  // namespace lockstep::comm
