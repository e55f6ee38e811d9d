// One or two bits a value in blocks of 1024 on the GPU. A block of threads takes a block of values, thread j
// those of byte j, which are strides apart (payload.h): it makes and reads whole bytes, and neighbours read
// neighbouring values.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/device.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

constexpr int kBlock = kSignShape.block;
constexpr int kLanes = 16;  // in which the host adds magnitudes

/// A format: kValues in a byte, kMeans for a scale that is the mean magnitude, the bits of a value, and the
/// value of bits.
struct Sign {
  static constexpr int kValues = 8;
  static constexpr bool kMeans = true;
  static __device__ __forceinline__ std::uint32_t code(float x, std::uint32_t /*key*/, std::uint32_t /*i*/) {
    return std::bit_cast<std::uint32_t>(x) >> 31;
  }
  static __device__ __forceinline__ float value(std::uint32_t code, float scale) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scale) | code << 31);
  }
};
struct Vote : Sign {
  static constexpr bool kMeans = false;
  static __device__ __forceinline__ std::uint32_t code(float x, std::uint32_t key, std::uint32_t i) {
    return voted_sign(x, random_bits(key, i)) >> 31;
  }
};
struct Ternary {
  static constexpr int kValues = 4;
  static constexpr bool kMeans = false;
  static __device__ __forceinline__ std::uint32_t code(float x, std::uint32_t /*key*/, std::uint32_t /*i*/) {
    return ternary_code(x);
  }
  static __device__ __forceinline__ float value(std::uint32_t code, float /*scale*/) {
    return ternary_value(code);
  }
};

template <class Format>
constexpr int kStride = kBlock / Format::kValues;  // bytes of a block, and threads
template <class Format>
constexpr int kBits = 8 / Format::kValues;

/// In the host's order: lanes first, then l and l + 8, l + 4, ... For the first 16 threads.
__device__ __forceinline__ float mean_magnitude(const float* magnitudes) {
  float sum = 0;
  for (int row = 0; row < kBlock / kLanes; ++row)
    sum += magnitudes[row * kLanes + static_cast<int>(threadIdx.x)];
#pragma unroll
  for (int width = kLanes / 2; width > 0; width /= 2) sum += __shfl_xor_sync(0xffffu, sum, width, kLanes);
  return sum * (1.0f / kBlock);
}

/// The scale of a block whose values the threads hold, in all of them.
template <class Format>
__device__ __forceinline__ std::uint16_t shared_scale(const float (&x)[Format::kValues]) {
  if constexpr (!Format::kMeans) {
    return kUnitScale;
  } else {
    __shared__ float magnitudes[kBlock];
    __shared__ std::uint16_t scale;
#pragma unroll
    for (int b = 0; b < Format::kValues; ++b)
      magnitudes[b * kStride<Format> + threadIdx.x] = std::bit_cast<float>(magnitude_bits(x[b]));
    __syncthreads();
    if (threadIdx.x < kLanes) {
      const float mean = mean_magnitude(magnitudes);
      if (threadIdx.x == 0) scale = scale_near(mean);
    }
    __syncthreads();
    return scale;
  }
}

/// `residual` may be null or x.
template <class Format, class T>
__global__ void __launch_bounds__(kStride<Format>)
    encode_kernel(const T* x, std::int64_t count, BlockShape::Places wire, float* residual,
                  std::uint32_t key) {
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  for (std::int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const std::int64_t first = block * kBlock + threadIdx.x;
    float values[Format::kValues];
    std::uint32_t byte = 0;
#pragma unroll
    for (int b = 0; b < Format::kValues; ++b) {
      const std::int64_t i = first + b * kStride<Format>;
      values[b] = i < count ? to_float(x[i]) : 0.0f;
      byte |= Format::code(values[b], key, static_cast<std::uint32_t>(i)) << (b * kBits<Format>);
    }
    const std::uint16_t scale = shared_scale<Format>(values);
    if (threadIdx.x == 0) wire.scales[block] = scale;
    wire.codes[block * kStride<Format> + threadIdx.x] = static_cast<std::uint8_t>(byte);
    if (residual == nullptr) continue;
#pragma unroll
    for (int b = 0; b < Format::kValues; ++b) {
      const std::int64_t i = first + b * kStride<Format>;
      const std::uint32_t code = byte >> (b * kBits<Format>);
      if (i < count) residual[i] = values[b] - Format::value(code, scale_value(scale));
    }
  }
}

using Payloads = CudaPayloads<BlockShape::Places>;

template <class Format>
__global__ void __launch_bounds__(kStride<Format>)
    decode_kernel(Payloads wires, float* out, std::int64_t count) {
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  for (std::int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const std::int64_t first = block * kBlock + threadIdx.x;
    float sums[Format::kValues];
    for (int w = 0; w < wires.count; ++w) {
      const std::uint32_t byte = wires.of[w].codes[block * kStride<Format> + threadIdx.x];
      const float scale = scale_value(wires.of[w].scales[block]);
#pragma unroll
      for (int b = 0; b < Format::kValues; ++b) {
        const std::int64_t i = first + b * kStride<Format>;
        const float value = Format::value(byte >> (b * kBits<Format>), scale);
        if (w == 0 && wires.add) sums[b] = i < count ? out[i] : 0.0f;
        sums[b] = w == 0 && !wires.add ? value : sums[b] + value;
      }
    }
#pragma unroll
    for (int b = 0; b < Format::kValues; ++b) {
      const std::int64_t i = first + b * kStride<Format>;
      if (i < count) out[i] = wires.factor * sums[b];
    }
  }
}

template <class Format>
int grid_for(std::int64_t count, Device device) {
  return blocks_for((count + kBlock - 1) / kBlock * kStride<Format>, device, kStride<Format>);
}

template <class Format>
void encode(FlatSpan values, BlockShape::Places wire, FlatSpan residual, const BlockFormat& /*format*/,
            std::uint32_t key, Stream& stream) {
  const int blocks = grid_for<Format>(values.count, stream.device());
  with_values(values, [&](const auto* x) {
    encode_kernel<Format><<<blocks, kStride<Format>, 0, native(stream)>>>(
        x, values.count, wire, residual.count > 0 ? floats_of(residual) : nullptr, key);
  });
  check_launch("encode signs");
}

template <class Format>
void decode(const Payloads& wires, FlatSpan out, const BlockFormat& /*format*/, Stream& stream) {
  decode_kernel<Format><<<grid_for<Format>(out.count, stream.device()), kStride<Format>, 0, native(stream)>>>(
      wires, floats_of(out), out.count);
  check_launch("decode signs");
}

}  // namespace

const CudaBlockLoops cuda_sign_loops{kSignShape, encode<Sign>, decode<Sign>};
const CudaBlockLoops cuda_vote_loops{kSignShape, encode<Vote>, decode<Vote>};
const CudaBlockLoops cuda_ternary_loops{kTernaryShape, encode<Ternary>, decode<Ternary>};

}  // namespace lockstep::comm
