// Codecs without blocks on the GPU: bfloat16, IEEE half, and powers of two in 8 bits. Four values a thread.
#include <iterator>

#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/device.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

struct Bf16Code {
  using Word = std::uint16_t;
  static __device__ __forceinline__ Word code(float x, std::uint32_t /*key*/, std::uint32_t /*index*/) {
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
  }
  static __device__ __forceinline__ float value(Word code) {
    return __bfloat162float(__ushort_as_bfloat16(code));
  }
};
struct Fp16Code {
  using Word = std::uint16_t;
  static __device__ __forceinline__ Word code(float x, std::uint32_t /*key*/, std::uint32_t /*index*/) {
    return __half_as_ushort(__float2half_rn(x));
  }
  static __device__ __forceinline__ float value(Word code) { return __half2float(__ushort_as_half(code)); }
};
struct PowerCode {
  using Word = std::uint8_t;
  static __device__ __forceinline__ Word code(float x, std::uint32_t key, std::uint32_t index) {
    return static_cast<Word>(power_code(x, random_bits(key, index)));
  }
  static __device__ __forceinline__ float value(Word code) { return power_value(code); }
};

constexpr int kQuad = 4;
template <class T>
struct alignas(kQuad * sizeof(T)) Quad {
  T of[kQuad];
};

/// `residual` may be null or x.
template <class Code, class T>
__global__ void encode_kernel(const T* x, std::int64_t count, typename Code::Word* codes, float* residual,
                              std::uint32_t key) {
  using Words = Quad<typename Code::Word>;
  const std::int64_t quads = count / kQuad;
  for (std::int64_t i = first_item(); i < quads; i += stride()) {
    const auto values = reinterpret_cast<const Quad<T>*>(x)[i];
    Words words;
    Quad<float> rest;
#pragma unroll
    for (int k = 0; k < kQuad; ++k) {
      const float value = to_float(values.of[k]);
      words.of[k] = Code::code(value, key, static_cast<std::uint32_t>(i * kQuad + k));
      rest.of[k] = value - Code::value(words.of[k]);
    }
    reinterpret_cast<Words*>(codes)[i] = words;
    if (residual != nullptr) reinterpret_cast<Quad<float>*>(residual)[i] = rest;
  }
  if (const std::int64_t i = quads * kQuad + first_item(); i < count) {
    const float value = to_float(x[i]);
    codes[i] = Code::code(value, key, static_cast<std::uint32_t>(i));
    if (residual != nullptr) residual[i] = value - Code::value(codes[i]);
  }
}

using Payloads = CudaPayloads<const void*>;

/// factor * (the values, when payloads are added to them, + what place i of each payload decodes to).
template <class Code, class Words, class Values>
__device__ __forceinline__ Values decoded_at(const Payloads& wires, std::int64_t i, Values values) {
  for (int w = 0; w < wires.count; ++w) {
    const Words words = static_cast<const Words*>(wires.of[w])[i];
#pragma unroll
    for (std::size_t k = 0; k < std::size(words.of); ++k) {
      const float value = Code::value(words.of[k]);
      values.of[k] = w == 0 && !wires.add ? value : values.of[k] + value;
    }
  }
#pragma unroll
  for (float& value : values.of) value = wires.factor * value;
  return values;
}

template <class T>
struct Single {
  T of[1];
};

template <class Code>
__global__ void decode_kernel(const __grid_constant__ Payloads wires, float* out, std::int64_t count) {
  using Word = typename Code::Word;
  const std::int64_t quads = count / kQuad;
  for (std::int64_t i = first_item(); i < quads; i += stride()) {
    auto* place = reinterpret_cast<Quad<float>*>(out) + i;
    *place = decoded_at<Code, Quad<Word>>(wires, i, wires.add ? *place : Quad<float>{});
  }
  if (const std::int64_t i = quads * kQuad + first_item(); i < count)
    out[i] = decoded_at<Code, Single<Word>>(wires, i, Single<float>{wires.add ? out[i] : 0.0f}).of[0];
}

template <class Code>
void encode(FlatSpan values, void* codes, FlatSpan residual, std::uint32_t key, Stream& stream) {
  const int blocks = blocks_for(values.count / kQuad, stream.device());
  with_values(values, [&](const auto* x) {
    encode_kernel<Code><<<blocks, kBlockThreads, 0, native(stream)>>>(
        x, values.count, static_cast<typename Code::Word*>(codes),
        residual.count > 0 ? floats_of(residual) : nullptr, key);
  });
  check_launch("encode");
}

template <class Code>
void decode(const Payloads& wires, FlatSpan out, Stream& stream) {
  decode_kernel<Code><<<blocks_for(out.count / kQuad, stream.device()), kBlockThreads, 0, native(stream)>>>(
      wires, floats_of(out), out.count);
  check_launch("decode");
}

}  // namespace

const CudaElementLoops cuda_bf16_loops{2, encode<Bf16Code>, decode<Bf16Code>};
const CudaElementLoops cuda_fp16_loops{2, encode<Fp16Code>, decode<Fp16Code>};
const CudaElementLoops cuda_power_loops{1, encode<PowerCode>, decode<PowerCode>};

}  // namespace lockstep::comm
