// One bit per value and the mean magnitude of a block of 1024. Values of a byte are strides apart
// (payload.h), so that bytes are made and read in vectors. sign(0) is +.
#include "comm/compress/cpu/block_codec.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr int kBlock = kSignShape.block;
constexpr int kBytes = kSignShape.block_bytes;

LOCKSTEP_INLINE float mean_magnitude(const float* x) {
  float lanes[16] = {};
  for (int row = 0; row < kBlock; row += 16) {
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += std::bit_cast<float>(magnitude_bits(x[row + lane]));
  }
  return added_lanes(lanes) * (1.0f / kBlock);
}

LOCKSTEP_INLINE void pack_signs(const float* x, std::uint8_t* codes) {
  for (int j = 0; j < kBytes; ++j) codes[j] = 0;
  for (int b = 0; b < 8; ++b) {
    for (int j = 0; j < kBytes; ++j) {
      const std::uint32_t negative = std::bit_cast<std::uint32_t>(x[b * kBytes + j]) >> 31;
      codes[j] = static_cast<std::uint8_t>(codes[j] | (negative << b));
    }
  }
}

LOCKSTEP_INLINE float signed_scale(std::uint8_t code, int b, std::uint32_t scale_bits) {
  return std::bit_cast<float>(scale_bits | (static_cast<std::uint32_t>(code) >> b) << 31);
}

LOCKSTEP_HOT_LOOP void encode_sign(const float* x, std::int64_t blocks, std::uint16_t* scales,
                                   std::uint8_t* codes, float* residual, const BlockFormat& /*format*/,
                                   std::uint32_t /*key*/, std::uint32_t /*element*/) {
  for (std::int64_t block = 0; block < blocks; ++block) {
    const float* values = x + block * kBlock;
    std::uint8_t* bytes = codes + block * kBytes;
    scales[block] = scale_near(mean_magnitude(values));
    pack_signs(values, bytes);
    if (residual == nullptr) continue;
    float* rest = residual + block * kBlock;
    const std::uint32_t scale_bits = static_cast<std::uint32_t>(scales[block]) << 16;
#pragma GCC ivdep
    for (int i = 0; i < kBlock; ++i) {
      const std::uint32_t negative = std::bit_cast<std::uint32_t>(values[i]) & 0x80000000u;
      rest[i] = values[i] - std::bit_cast<float>(scale_bits | negative);
    }
  }
}

LOCKSTEP_HOT_LOOP void decode_sign(const std::uint16_t* scales, const std::uint8_t* codes,
                                   std::int64_t blocks, float* out, bool add, const BlockFormat& /*format*/) {
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::uint8_t* bytes = codes + block * kBytes;
    const std::uint32_t scale_bits = static_cast<std::uint32_t>(scales[block]) << 16;
    for (int b = 0; b < 8; ++b) {
      float* values = out + block * kBlock + std::ptrdiff_t{b} * kBytes;
      if (add) {
        for (int j = 0; j < kBytes; ++j) values[j] += signed_scale(bytes[j], b, scale_bits);
      } else {
        for (int j = 0; j < kBytes; ++j) values[j] = signed_scale(bytes[j], b, scale_bits);
      }
    }
  }
}

LOCKSTEP_HOT_LOOP void encode_vote(const float* x, std::int64_t blocks, std::uint16_t* scales,
                                   std::uint8_t* codes, float* residual, const BlockFormat& /*format*/,
                                   std::uint32_t key, std::uint32_t element) {
  alignas(64) float votes[kBlock];
  for (std::int64_t block = 0; block < blocks; ++block, element += kBlock) {
    const float* values = x + block * kBlock;
    scales[block] = kUnitScale;
    std::uint32_t place = element * kRandomStride;
    for (int i = 0; i < kBlock; ++i, place += kRandomStride)
      votes[i] = std::bit_cast<float>(0x3f800000u | voted_sign(values[i], random_bits_at(key, place)));
    pack_signs(votes, codes + block * kBytes);
    if (residual == nullptr) continue;
    for (int i = 0; i < kBlock; ++i) residual[block * kBlock + i] = values[i] - votes[i];
  }
}

LOCKSTEP_HOT_LOOP void encode_ternary(const float* x, std::int64_t blocks, std::uint16_t* scales,
                                      std::uint8_t* codes, float* residual, const BlockFormat& /*format*/,
                                      std::uint32_t /*key*/, std::uint32_t /*element*/) {
  constexpr int kStripe = kBlock / 4;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const float* values = x + block * kBlock;
    std::uint8_t* bytes = codes + block * kStripe;
    scales[block] = kUnitScale;
    for (int j = 0; j < kStripe; ++j) bytes[j] = 0;
    for (int stripe = 0; stripe < 4; ++stripe) {
      for (int j = 0; j < kStripe; ++j) {
        const std::uint32_t code = ternary_code(values[stripe * kStripe + j]);
        bytes[j] = static_cast<std::uint8_t>(bytes[j] | code << (2 * stripe));
      }
    }
    if (residual == nullptr) continue;
    for (int i = 0; i < kBlock; ++i)
      residual[block * kBlock + i] = values[i] - ternary_value(bytes[i % kStripe] >> (2 * (i / kStripe)));
  }
}

LOCKSTEP_HOT_LOOP void decode_ternary(const std::uint16_t* /*scales*/, const std::uint8_t* codes,
                                      std::int64_t blocks, float* out, bool add,
                                      const BlockFormat& /*format*/) {
  constexpr int kStripe = kBlock / 4;
  for (std::int64_t block = 0; block < blocks; ++block) {
    for (int stripe = 0; stripe < 4; ++stripe) {
      float* values = out + block * kBlock + std::ptrdiff_t{stripe} * kStripe;
      const std::uint8_t* bytes = codes + block * kStripe;
      if (add) {
        for (int j = 0; j < kStripe; ++j) values[j] += ternary_value(bytes[j] >> (2 * stripe));
      } else {
        for (int j = 0; j < kStripe; ++j) values[j] = ternary_value(bytes[j] >> (2 * stripe));
      }
    }
  }
}

}  // namespace

const BlockLoops sign_loops{kSignShape, encode_sign, decode_sign};
const BlockLoops vote_loops{kSignShape, encode_vote, decode_sign};
const BlockLoops ternary_loops{kTernaryShape, encode_ternary, decode_ternary};

}  // namespace lockstep::comm
