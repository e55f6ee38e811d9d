// A codec of blocks with one scale each: first the scales of all blocks (u16, padded to 16 bytes), then the
// codes. The last block is filled up with zeros. What differs between formats are two loops.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/compress/codec.h"

namespace lockstep::comm {

/// How integers are made and what a call does with them.
struct BlockFormat {
  int bits = 8;
  bool stochastic = false;
  bool length = false;  ///< scale by the block's length, not its largest magnitude
  bool rotate = false;
};

struct BlockLoops {
  int block = 256;        ///< values
  int block_bytes = 256;  ///< of codes
  /// Encodes whole blocks; residual may be null or x. `element` counts from the call's first value.
  void (*encode)(const float* x, std::int64_t blocks, std::uint16_t* scales, std::uint8_t* codes,
                 float* residual, const BlockFormat& format, std::uint32_t key, std::uint32_t element);
  void (*decode)(const std::uint16_t* scales, const std::uint8_t* codes, std::int64_t blocks, float* out,
                 bool add, const BlockFormat& format);
};

extern const BlockLoops int8_loops, int4_loops, sign_loops, vote_loops, ternary_loops;

[[nodiscard]] std::unique_ptr<Codec> make_block_codec(const BlockLoops& loops, const BlockFormat& format);

}  // namespace lockstep::comm
