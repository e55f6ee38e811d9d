// Payloads of blocks with one scale each: first the scales of all blocks (u16, padded to 16 bytes), then the
// codes. The last block is filled up with zeros.
#pragma once

#include <cstdint>

#include "comm/compress/codec.h"

namespace lockstep::comm {

struct BlockShape {
  int block = 256;        ///< values
  int block_bytes = 256;  ///< of codes

  [[nodiscard]] constexpr std::int64_t blocks(std::int64_t count) const noexcept {
    return (count + block - 1) / block;
  }
  [[nodiscard]] constexpr std::int64_t scale_bytes(std::int64_t count) const noexcept {
    return (2 * blocks(count) + 15) / 16 * 16;
  }
  [[nodiscard]] constexpr std::int64_t payload(std::int64_t count) const noexcept {
    return scale_bytes(count) + blocks(count) * block_bytes;
  }
  struct Places {
    std::uint16_t* scales = nullptr;
    std::uint8_t* codes = nullptr;
  };
  [[nodiscard]] Places places(void* wire, std::int64_t count) const noexcept {
    auto* bytes = static_cast<std::uint8_t*>(wire);
    return {reinterpret_cast<std::uint16_t*>(bytes), bytes + scale_bytes(count)};
  }
};

inline constexpr BlockShape kInt8Shape{256, 256};
inline constexpr BlockShape kInt4Shape{256, 128};      // two codes in a byte: i and i + 128, each + 8
inline constexpr BlockShape kSignShape{1024, 128};     // bit b of byte j: value b * 128 + j
inline constexpr BlockShape kTernaryShape{1024, 256};  // bits 2 s, 2 s + 1 of byte j: value s * 256 + j

/// What a call does with integers.
struct BlockFormat {
  int bits = 8;
  bool stochastic = false;
  bool length = false;  ///< scale by the block's length, not its largest magnitude
  bool rotate = false;

  [[nodiscard]] static constexpr BlockFormat of(const CodecSpec& spec) noexcept {
    return {.bits = spec.kind == CodecKind::int4 ? 4 : 8,
            .stochastic = spec.rounding == Rounding::stochastic,
            .length = spec.scale == BlockScale::length,
            .rotate = spec.rotate};
  }
  [[nodiscard]] constexpr std::int32_t levels() const noexcept { return bits == 8 ? 127 : 7; }
};

/// Chunks of codes that each stand for one value start at whole cache lines.
inline constexpr std::int64_t kElementGrain = 64;

}  // namespace lockstep::comm
