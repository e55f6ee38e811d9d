// A codec of blocks with one scale each (payload.h). What differs between formats are two loops.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/compress/codec.h"
#include "comm/compress/payload.h"

namespace lockstep::comm {

struct BlockLoops {
  BlockShape shape;
  /// Encodes whole blocks; residual may be null or x. `element` counts from the call's first value.
  void (*encode)(const float* x, std::int64_t blocks, std::uint16_t* scales, std::uint8_t* codes,
                 float* residual, const BlockFormat& format, std::uint32_t key, std::uint32_t element);
  void (*decode)(const std::uint16_t* scales, const std::uint8_t* codes, std::int64_t blocks, float* out,
                 bool add, const BlockFormat& format);
};

extern const BlockLoops int8_loops, int4_loops, sign_loops, vote_loops, ternary_loops;

[[nodiscard]] std::unique_ptr<Codec> make_block_codec(const BlockLoops& loops, const BlockFormat& format);

}  // namespace lockstep::comm
