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

// ---- straight into other GPUs' memory (comm/compress/straight.h): 16 bytes of 2-byte codes a thread

constexpr int kOct = 8;
template <class T>
struct alignas(16) Oct {
  T of[kOct];
};

__device__ __forceinline__ int faults_in(const Oct<float>& values) {
  int faults = 0;
#pragma unroll
  for (const float value : values.of) faults += is_nonfinite(value);
  return faults;
}

template <class Code>
__global__ void __launch_bounds__(kBlockThreads)
    push_kernel(const float* x, std::int64_t count, typename Code::Word* codes, Counter* nonfinite) {
  constexpr int kAtOnce = 2;
  const std::int64_t octs = count / kOct;
  int faults = 0;
  for (std::int64_t i = first_item(); i < octs; i += kAtOnce * stride()) {
    Oct<float> values[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (i + k * stride() < octs) values[k] = reinterpret_cast<const Oct<float>*>(x)[i + k * stride()];
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      if (i + k * stride() >= octs) break;
      Oct<typename Code::Word> words;
#pragma unroll
      for (int j = 0; j < kOct; ++j) words.of[j] = Code::code(values[k].of[j], 0, 0);
      faults += faults_in(values[k]);
      reinterpret_cast<Oct<typename Code::Word>*>(codes)[i + k * stride()] = words;
    }
  }
  report_faults(faults, nonfinite);
}

using Owner = CudaOwner<void*>;

/// The sum over ranks at place `i` of what came, and of what the owner's values round to.
template <class Code>
__device__ __forceinline__ Oct<float> sum_at(const Owner& turn, std::int64_t i, const Oct<float>& mine) {
  Oct<float> sums;
  for (int rank = 0; rank < turn.ranks; ++rank) {
    Oct<typename Code::Word> words;
    if (rank != turn.owner) words = static_cast<const Oct<typename Code::Word>*>(turn.wires[rank])[i];
#pragma unroll
    for (int j = 0; j < kOct; ++j) {
      if (rank == turn.owner) words.of[j] = Code::code(mine.of[j], 0, 0);
      const float value = Code::value(words.of[j]);
      sums.of[j] = rank == 0 ? value : sums.of[j] + value;
    }
  }
  return sums;
}

template <class Code>
__global__ void __launch_bounds__(kBlockThreads)
    own_kernel(const __grid_constant__ Owner turn, float* x, std::int64_t count, Counter* nonfinite) {
  const std::int64_t octs = count / kOct;
  int faults = 0;
  for (std::int64_t i = first_item(); i < octs; i += stride()) {
    auto* place = reinterpret_cast<Oct<float>*>(x) + i;
    Oct<float> values = *place;
    faults += faults_in(values);
    values = sum_at<Code>(turn, i, values);
    Oct<typename Code::Word> words;
#pragma unroll
    for (int j = 0; j < kOct; ++j) {
      words.of[j] = Code::code(turn.share * values.of[j], 0, 0);
      values.of[j] = turn.factor * Code::value(words.of[j]);
    }
    for (int target = 0; target < turn.wanted; ++target)
      static_cast<Oct<typename Code::Word>*>(turn.targets[target])[i] = words;
    *place = values;
  }
  report_faults(faults, nonfinite);
}

template <class Code>
void push(FlatSpan values, void* codes, FlatSpan nonfinite, Stream& stream) {
  push_kernel<Code>
      <<<link_blocks_for(values.count / kOct, stream.device()), kBlockThreads, 0, native(stream)>>>(
          floats_of(values), values.count, static_cast<typename Code::Word*>(codes), counter_of(nonfinite));
  check_launch("encode into another rank's memory");
}

template <class Code>
void own(const Owner& turn, FlatSpan values, FlatSpan nonfinite, Stream& stream) {
  own_kernel<Code>
      <<<link_blocks_for(values.count / kOct, stream.device()), kBlockThreads, 0, native(stream)>>>(
          turn, floats_of(values), values.count, counter_of(nonfinite));
  check_launch("sum by its owner");
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

const CudaElementLoops cuda_bf16_loops{2, encode<Bf16Code>, decode<Bf16Code>, push<Bf16Code>, own<Bf16Code>};
const CudaElementLoops cuda_fp16_loops{2, encode<Fp16Code>, decode<Fp16Code>, push<Fp16Code>, own<Fp16Code>};
const CudaElementLoops cuda_power_loops{1, encode<PowerCode>, decode<PowerCode>};

}  // namespace lockstep::comm
