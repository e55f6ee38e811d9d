// Integers of 8 or 4 bits in blocks of 256 with one scale: code = x / scale, rounded to nearest or at random.
// The scale (upper half of a float, rounded up) has 8 significant bits, so code * scale is exact and so is
// every residual of moderate integers.
#include <algorithm>
#include <cmath>

#include "comm/compress/cpu/block_codec.h"
#include "comm/compress/cpu/hadamard.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr int kBlock = kInt8Shape.block;

LOCKSTEP_INLINE float largest(const float* x) {
  std::uint32_t most = 0;
  for (int i = 0; i < kBlock; ++i) most = std::max(most, magnitude_bits(x[i]));
  return std::bit_cast<float>(most);
}

LOCKSTEP_INLINE float length(const float* x) {
  float lanes[16] = {};
  for (int row = 0; row < kBlock; row += 16) {
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += x[row + lane] * x[row + lane];
  }
  return std::sqrt(added_lanes(lanes));
}

LOCKSTEP_INLINE void round_nearest(const float* x, float inverse, std::int8_t* q) {
  for (int i = 0; i < kBlock; ++i) q[i] = static_cast<std::int8_t>(nearest_code(x[i] * inverse));
}

LOCKSTEP_INLINE void round_at_random(const float* x, float inverse, std::int32_t levels, std::int8_t* q,
                                     std::uint32_t key, std::uint32_t element) {
  for (int i = 0; i < kBlock; ++i) {
    const float unit = random_unit(key, element + static_cast<std::uint32_t>(i));
    q[i] = static_cast<std::int8_t>(random_code(x[i] * inverse, unit, levels));
  }
}

LOCKSTEP_INLINE void pack_nibbles(const std::int8_t* q, std::uint8_t* codes) {
  for (int i = 0; i < kBlock / 2; ++i) {
    codes[i] = static_cast<std::uint8_t>((q[i] + 8) | ((q[i + kBlock / 2] + 8) << 4));
  }
}
LOCKSTEP_INLINE void unpack_nibbles(const std::uint8_t* codes, std::int8_t* q) {
  for (int i = 0; i < kBlock / 2; ++i) {
    q[i] = static_cast<std::int8_t>((codes[i] & 15) - 8);
    q[i + kBlock / 2] = static_cast<std::int8_t>((codes[i] >> 4) - 8);
  }
}

/// One block's values from its codes.
LOCKSTEP_INLINE void dequantise(const std::int8_t* q, float scale, bool rotated, float* out) {
  if (!rotated) {
    for (int i = 0; i < kBlock; ++i) out[i] = static_cast<float>(q[i]) * scale;
    return;
  }
  alignas(64) float values[kBlock];
  for (int i = 0; i < kBlock; ++i) values[i] = static_cast<float>(q[i]) * scale;
  rotate_back(values, values);
  std::copy_n(values, kBlock, out);
}

LOCKSTEP_INLINE void encode_block(const float* x, std::uint16_t* scale_bits, std::uint8_t* codes,
                                  float* residual, const BlockFormat& format, int bits, std::uint32_t key,
                                  std::uint32_t element) {
  alignas(64) float work[kBlock];
  alignas(64) float rotated[kBlock];
  alignas(64) std::int8_t q[kBlock];
  if (format.rotate) rotate(x, rotated);
  const float* v = format.rotate ? rotated : x;
  const std::int32_t levels = bits == 8 ? 127 : 7;
  *scale_bits = scale_for(format.length ? length(v) : largest(v), levels);
  const float step = scale_value(*scale_bits);
  const float inverse = inverse_of(step);
  if (format.stochastic) {
    round_at_random(v, inverse, levels, q, key, element);
  } else {
    round_nearest(v, inverse, q);
  }
  if (bits == 4) {
    pack_nibbles(q, codes);
  } else {
    std::copy_n(q, kBlock, reinterpret_cast<std::int8_t*>(codes));
  }
  if (residual == nullptr) return;
  dequantise(q, step, format.rotate, work);
#pragma GCC ivdep
  for (int i = 0; i < kBlock; ++i) residual[i] = x[i] - work[i];
}

LOCKSTEP_HOT_LOOP void encode_int8(const float* x, std::int64_t blocks, std::uint16_t* scales,
                                   std::uint8_t* codes, float* residual, const BlockFormat& format,
                                   std::uint32_t key, std::uint32_t element) {
  for (std::int64_t b = 0; b < blocks; ++b, element += kBlock) {
    encode_block(x + b * kBlock, scales + b, codes + b * kBlock,
                 residual != nullptr ? residual + b * kBlock : nullptr, format, 8, key, element);
  }
}
LOCKSTEP_HOT_LOOP void encode_int4(const float* x, std::int64_t blocks, std::uint16_t* scales,
                                   std::uint8_t* codes, float* residual, const BlockFormat& format,
                                   std::uint32_t key, std::uint32_t element) {
  for (std::int64_t b = 0; b < blocks; ++b, element += kBlock) {
    encode_block(x + b * kBlock, scales + b, codes + b * kBlock / 2,
                 residual != nullptr ? residual + b * kBlock : nullptr, format, 4, key, element);
  }
}

LOCKSTEP_INLINE void decode_block(const std::int8_t* q, float scale, float* out, bool add, bool rotated) {
  if (!add) {
    dequantise(q, scale, rotated, out);
  } else if (!rotated) {
    for (int i = 0; i < kBlock; ++i) out[i] += static_cast<float>(q[i]) * scale;
  } else {
    alignas(64) float values[kBlock];
    dequantise(q, scale, true, values);
    for (int i = 0; i < kBlock; ++i) out[i] += values[i];
  }
}

LOCKSTEP_HOT_LOOP void decode_int8(const std::uint16_t* scales, const std::uint8_t* codes,
                                   std::int64_t blocks, float* out, bool add, const BlockFormat& format) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    decode_block(reinterpret_cast<const std::int8_t*>(codes) + b * kBlock, scale_value(scales[b]),
                 out + b * kBlock, add, format.rotate);
  }
}
LOCKSTEP_HOT_LOOP void decode_int4(const std::uint16_t* scales, const std::uint8_t* codes,
                                   std::int64_t blocks, float* out, bool add, const BlockFormat& format) {
  alignas(64) std::int8_t q[kBlock];
  for (std::int64_t b = 0; b < blocks; ++b) {
    unpack_nibbles(codes + b * kBlock / 2, q);
    decode_block(q, scale_value(scales[b]), out + b * kBlock, add, format.rotate);
  }
}

}  // namespace

const BlockLoops int8_loops{kInt8Shape, encode_int8, decode_int8};
const BlockLoops int4_loops{kInt4Shape, encode_int4, decode_int4};

}  // namespace lockstep::comm
