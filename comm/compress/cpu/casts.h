// Codecs that turn each value into a code of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/compress/codec.h"

namespace lockstep::comm {

struct ElementLoops {
  int bytes = 2;  ///< of a code
  void (*encode)(const float* x, std::int64_t count, void* codes, float* residual, std::uint32_t key);
  void (*decode)(const void* codes, std::int64_t count, float* out, bool add);
};

extern const ElementLoops bf16_loops, fp16_loops, power_loops;

[[nodiscard]] std::unique_ptr<Codec> make_element_codec(const ElementLoops& loops);

}  // namespace lockstep::comm
