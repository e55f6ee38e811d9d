// The four passes of batch norm over rows of channels, as bodies for channels.cuh: moments, normalisation,
// sums of gradients, input gradient. T is the activations' type, kLot the channels of a thread.
#pragma once

#include <cstdint>

#include "models/ops/cuda/channels.cuh"

namespace lockstep::models::cuda {

/// Where a ReLU's mask comes from: there is none; the sign of the normalised input (made again as forward
/// made it); where something was added before the ReLU, the sign of the output, or bits that forward kept of
/// it.
enum class Mask : std::uint8_t { none, input, output, bits };

/// Bits of 64 channels of a row, for the 16 threads that hold four each: 16 bits for each of the four.
inline constexpr int kBitChannels = 64;
__device__ __forceinline__ void keep_bits(const bool (&positive)[kQuad], uint2* bits, std::int64_t at) {
  const unsigned half = threadIdx.x & 16U;
  unsigned words[kQuad];
#pragma unroll
  for (int i = 0; i < kQuad; ++i) words[i] = __ballot_sync(0xffffU << half, positive[i]) >> half & 0xffffU;
  if ((threadIdx.x & 15U) == 0)
    bits[at / kBitChannels] = make_uint2(words[0] | words[1] << 16, words[2] | words[3] << 16);
}
__device__ __forceinline__ bool bit_of(const uint2& bits, int i) {
  return ((i < 2 ? bits.x : bits.y) >> (i % 2 * 16 + (threadIdx.x & 15U)) & 1U) != 0;
}

/// y = x scale + shift.
template <int kLot>
struct Affine {
  const float *mean, *inverse, *gamma, *beta;  ///< per channel
  float scale[kLot], shift[kLot];

  __device__ __forceinline__ void prepare(int channel) {
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      scale[i] = gamma[channel + i] * inverse[channel + i];
      shift[i] = beta[channel + i] - mean[channel + i] * scale[i];
    }
  }
  __device__ __forceinline__ float operator()(float x, int i) const { return fmaf(x, scale[i], shift[i]); }
};

/// Sum and sum of squares about the first row.
template <class T, int kLot>
struct Moments {
  using Loaded = Cell<T, kLot>;
  const T* x;
  float first[kLot] = {}, second[kLot] = {}, about[kLot] = {};

  __device__ __forceinline__ void prepare(int channel) {
    const auto row = Loaded::load(x + channel);
#pragma unroll
    for (int i = 0; i < kLot; ++i) about[i] = lockstep::cuda::to_float(row.values[i]);
  }
  __device__ __forceinline__ Loaded load(std::int64_t at) const { return Loaded::load(x + at); }
  __device__ __forceinline__ void use(const Loaded& row, std::int64_t) {
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      const float d = lockstep::cuda::to_float(row.values[i]) - about[i];
      first[i] += d;
      second[i] = fmaf(d, d, second[i]);
    }
  }
};

/// y = relu(x scale + shift + residual); kBits: keeps where that is positive.
template <class T, int kLot, bool kResidual, bool kRelu, bool kBits>
struct Normalise {
  struct Loaded {
    Cell<T, kLot> x, residual;
  };
  const T *x, *residual;
  T* y;
  uint2* bits;
  Affine<kLot> affine;

  __device__ __forceinline__ void prepare(int channel) { affine.prepare(channel); }
  __device__ __forceinline__ Loaded load(std::int64_t at) const {
    Loaded l;
    l.x = Cell<T, kLot>::load_last(x + at);
    if constexpr (kResidual) l.residual = Cell<T, kLot>::load_last(residual + at);
    return l;
  }
  __device__ __forceinline__ void use(const Loaded& l, std::int64_t at) const {
    Cell<T, kLot> result;
    bool positive[kLot];
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      float v = affine(lockstep::cuda::to_float(l.x.values[i]), i);
      if constexpr (kResidual) v += lockstep::cuda::to_float(l.residual.values[i]);
      if constexpr (kRelu) v = fmaxf(v, 0.0F);
      positive[i] = v > 0;
      result.values[i] = lockstep::cuda::from_float<T>(v);
    }
    if constexpr (kBits && kLot == kQuad) keep_bits(positive, bits, at);
    result.store(y + at);
  }
};

/// Sums of the masked gradient dz and of dz (x - mean). With a mask from the output dz replaces dy, so that
/// nobody needs the mask again.
template <class T, int kLot, Mask kMask>
struct GradientSums {
  static constexpr bool kReplaces = kMask == Mask::output || kMask == Mask::bits;
  struct Loaded {
    Cell<T, kLot> x, dy, y;
    uint2 bits;
  };
  const T *x, *y;
  T* dy;
  const uint2* bits;
  Affine<kLot> affine;
  float first[kLot] = {}, second[kLot] = {}, mean[kLot] = {};

  __device__ __forceinline__ void prepare(int channel) {
    if constexpr (kMask == Mask::input) affine.prepare(channel);
#pragma unroll
    for (int i = 0; i < kLot; ++i) mean[i] = affine.mean[channel + i];
  }
  __device__ __forceinline__ Loaded load(std::int64_t at) const {
    Loaded l;
    l.x = Cell<T, kLot>::load(x + at);
    l.dy = Cell<T, kLot>::load(dy + at);
    if constexpr (kMask == Mask::output) l.y = Cell<T, kLot>::load_last(y + at);
    if constexpr (kMask == Mask::bits) l.bits = bits[at / kBitChannels];
    return l;
  }
  __device__ __forceinline__ void use(const Loaded& l, std::int64_t at) {
    using lockstep::cuda::to_float;
    Cell<T, kLot> masked = l.dy;
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      const float value = to_float(l.x.values[i]);
      float dz = to_float(l.dy.values[i]);
      if constexpr (kMask == Mask::input) dz = affine(value, i) > 0 ? dz : 0.0F;
      if constexpr (kMask == Mask::output) dz = to_float(l.y.values[i]) > 0 ? dz : 0.0F;
      if constexpr (kMask == Mask::bits) dz = bit_of(l.bits, i) ? dz : 0.0F;
      if constexpr (kReplaces) masked.values[i] = lockstep::cuda::from_float<T>(dz);
      first[i] += dz;
      second[i] = fmaf(dz, value - mean[i], second[i]);
    }
    if constexpr (kReplaces) masked.store(dy + at);
  }
};

/// dx (+)= scale dz - inner (x - mean) - constant; dz is dy or masked here by the input.
template <class T, int kLot, bool kMasks, bool kAdd>
struct InputGradient {
  struct Loaded {
    Cell<T, kLot> x, dy, dx;
  };
  const T *x, *dy;
  T* dx;
  Affine<kLot> affine;
  const float* sums;  ///< of dz, then of dz (x - mean), over all that share the statistics
  int channels;
  float share;  ///< 1 over how many share them; 0: they are constants
  float mean[kLot], inner[kLot], constant[kLot];

  __device__ __forceinline__ void prepare(int channel) {
    affine.prepare(channel);
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      const float inverse = affine.inverse[channel + i];
      mean[i] = affine.mean[channel + i];
      inner[i] = affine.scale[i] * inverse * inverse * sums[channels + channel + i] * share;
      constant[i] = affine.scale[i] * sums[channel + i] * share;
    }
  }
  __device__ __forceinline__ Loaded load(std::int64_t at) const {
    Loaded l;
    l.x = Cell<T, kLot>::load_last(x + at);
    l.dy = Cell<T, kLot>::load(dy + at);
    if constexpr (kAdd) l.dx = Cell<T, kLot>::load(dx + at);
    return l;
  }
  __device__ __forceinline__ void use(const Loaded& l, std::int64_t at) const {
    using lockstep::cuda::to_float;
    Cell<T, kLot> result;
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      const float value = to_float(l.x.values[i]);
      float dz = to_float(l.dy.values[i]);
      if constexpr (kMasks) dz = affine(value, i) > 0 ? dz : 0.0F;
      float d = fmaf(affine.scale[i], dz, -fmaf(inner[i], value - mean[i], constant[i]));
      if constexpr (kAdd) d += to_float(l.dx.values[i]);
      result.values[i] = lockstep::cuda::from_float<T>(d);
    }
    result.store(dx + at);
  }
};

}  // namespace lockstep::models::cuda
