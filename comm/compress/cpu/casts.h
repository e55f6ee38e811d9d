// Codecs that turn each value into a code of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "comm/compress/codec.h"

namespace lockstep::comm {

struct ElementLoops {
  int bytes = 2;  ///< of a code
  /// `element` counts from the call's first value.
  void (*encode)(const float* x, std::int64_t count, void* codes, float* residual, std::uint32_t key,
                 std::uint32_t element);
  void (*decode)(const void* codes, std::int64_t count, float* out, bool add);
};

extern const ElementLoops bf16_loops, fp16_loops, power_loops;

/// Calls visit(x, first, count) with the values as f32: all at once, or in widened tiles of whole blocks that
/// stay in the first cache.
template <class Visit>
void visit_floats(FlatSpan values, Visit&& visit) {
  constexpr std::int64_t kTile = 4096;
  if (values.dtype == Dtype::f32) return visit(values.as<float>().data(), 0, values.count);
  alignas(64) float tile[kTile];
  const Bf16* halves = values.as<Bf16>().data();
  for (std::int64_t first = 0; first < values.count; first += kTile) {
    const std::int64_t count = std::min(kTile, values.count - first);
    bf16_loops.decode(halves + first, count, tile, false);
    visit(tile, first, count);
  }
}

[[nodiscard]] std::unique_ptr<Codec> make_element_codec(const ElementLoops& loops);

}  // namespace lockstep::comm
