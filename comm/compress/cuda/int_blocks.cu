// Codecs of integers in blocks of 256 with one scale each, on the GPU.
#include "comm/compress/cuda/int_blocks.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

template <int kBits, class T>
__global__ void __launch_bounds__(kBlockThreads)
    encode_kernel(const T* x, std::int64_t count, BlockShape::Places wire, float* residual,
                  BlockFormat format, std::uint32_t key) {
  each_seat(count, [&](const Seat& seat, bool mine) {
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
  });
}

using Payloads = CudaPayloads<BlockShape::Places>;

template <int kBits>
__global__ void __launch_bounds__(kBlockThreads)
    decode_kernel(const __grid_constant__ Payloads wires, float* out, std::int64_t count, bool rotated) {
  each_seat(count, [&](const Seat& seat, bool mine) {
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
  });
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

const CudaBlockLoops cuda_int8_loops{kInt8Shape, encode<8>, decode<8>, push_int8, own_int8};
const CudaBlockLoops cuda_int4_loops{kInt4Shape, encode<4>, decode<4>};

}  // namespace lockstep::comm
