// One bit per value and the mean magnitude of a block of 1024. Bit b of byte j belongs to value b * 128 + j,
// so that bytes are made and read in vectors. sign(0) is +.
#include "comm/compress/cpu/block_codec.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr int kBlock = 1024;
constexpr int kBytes = kBlock / 8;

LOCKSTEP_INLINE float mean_magnitude(const float* x) {
  float lanes[16] = {};
  for (int row = 0; row < kBlock; row += 16) {
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += std::bit_cast<float>(magnitude_bits(x[row + lane]));
  }
  return added_lanes(lanes) * (1.0f / kBlock);
}

/// The upper half of a float, rounded to nearest.
LOCKSTEP_INLINE std::uint16_t scale_near(float x) {
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(x) + 0x8000u) >> 16);
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
      float* values = out + block * kBlock + b * kBytes;
      if (add) {
        for (int j = 0; j < kBytes; ++j) values[j] += signed_scale(bytes[j], b, scale_bits);
      } else {
        for (int j = 0; j < kBytes; ++j) values[j] = signed_scale(bytes[j], b, scale_bits);
      }
    }
  }
}

}  // namespace

const BlockLoops sign_loops{kBlock, kBytes, encode_sign, decode_sign};

}  // namespace lockstep::comm
