// Codecs without blocks: bfloat16, IEEE half, and powers of two in 8 bits.
#include <algorithm>

#include "comm/compress/codes.h"
#include "comm/compress/cpu/casts.h"
#include "comm/compress/payload.h"
#include "core/cpu_dispatch.h"
#include "core/vector/cpu/dtypes.h"

namespace lockstep::comm {
namespace {

template <class Half>
LOCKSTEP_INLINE void encode_half(const float* x, std::int64_t count, Half* codes, float* residual) {
  // In tiles, so that the second loop finds its values in the first cache.
  constexpr std::int64_t kTile = 1024;
  for (std::int64_t first = 0; first < count; first += kTile) {
    const std::int64_t end = std::min(count, first + kTile);
#pragma GCC ivdep
    for (std::int64_t i = first; i < end; ++i) codes[i] = vector::rounded<Half>(x[i]);
    if (residual == nullptr) continue;
#pragma GCC ivdep
    for (std::int64_t i = first; i < end; ++i) residual[i] = x[i] - vector::widened(codes[i]);
  }
}
template <class Half>
LOCKSTEP_INLINE void decode_half(const Half* codes, std::int64_t count, float* out, bool add) {
  if (add) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) out[i] += vector::widened(codes[i]);
  } else {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) out[i] = vector::widened(codes[i]);
  }
}

LOCKSTEP_HOT_LOOP void encode_bf16(const float* x, std::int64_t count, void* codes, float* residual,
                                   std::uint32_t /*key*/, std::uint32_t /*element*/) {
  encode_half(x, count, static_cast<Bf16*>(codes), residual);
}
LOCKSTEP_HOT_LOOP void decode_bf16(const void* codes, std::int64_t count, float* out, bool add) {
  decode_half(static_cast<const Bf16*>(codes), count, out, add);
}
LOCKSTEP_HOT_LOOP void encode_fp16(const float* x, std::int64_t count, void* codes, float* residual,
                                   std::uint32_t /*key*/, std::uint32_t /*element*/) {
  encode_half(x, count, static_cast<F16*>(codes), residual);
}
LOCKSTEP_HOT_LOOP void decode_fp16(const void* codes, std::int64_t count, float* out, bool add) {
  decode_half(static_cast<const F16*>(codes), count, out, add);
}

LOCKSTEP_HOT_LOOP void encode_power(const float* x, std::int64_t count, void* codes, float* residual,
                                    std::uint32_t key, std::uint32_t element) {
  auto* bytes = static_cast<std::uint8_t*>(codes);
  std::uint32_t place = element * kRandomStride;
  if (residual == nullptr) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i, place += kRandomStride)
      bytes[i] = static_cast<std::uint8_t>(power_code(x[i], random_bits_at(key, place)));
    return;
  }
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i, place += kRandomStride) {
    const std::uint32_t code = power_code(x[i], random_bits_at(key, place));
    bytes[i] = static_cast<std::uint8_t>(code);
    residual[i] = x[i] - power_value(code);
  }
}
LOCKSTEP_HOT_LOOP void decode_power(const void* codes, std::int64_t count, float* out, bool add) {
  const auto* bytes = static_cast<const std::uint8_t*>(codes);
  if (add) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) out[i] += power_value(bytes[i]);
  } else {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) out[i] = power_value(bytes[i]);
  }
}

class ElementCodec final : public Codec {
 public:
  explicit ElementCodec(const ElementLoops& loops) : loops_(loops) {}
  std::int64_t grain() const noexcept override { return kElementGrain; }
  std::int64_t payload(std::int64_t count) const noexcept override { return count * loops_.bytes; }
  void encode(FlatSpan values, FlatSpan wire, FlatSpan residual, std::uint32_t key,
              Stream& stream) const override {
    stream.host([loops = loops_, values, wire, residual, key] {
      auto* codes = static_cast<std::uint8_t*>(wire.data);
      float* rest = residual.count > 0 ? residual.as<float>().data() : nullptr;
      visit_floats(values, [&](const float* x, std::int64_t first, std::int64_t count) {
        loops.encode(x, count, codes + first * loops.bytes, rest != nullptr ? rest + first : nullptr, key,
                     static_cast<std::uint32_t>(first));
      });
    });
  }
  void decode(FlatSpan wire, FlatSpan out, Into into, Stream& stream) const override {
    stream.host([decode = loops_.decode, wire, out, add = into == Into::add] {
      decode(wire.data, out.count, out.as<float>().data(), add);
    });
  }

 private:
  ElementLoops loops_;
};

}  // namespace

const ElementLoops bf16_loops{2, encode_bf16, decode_bf16};
const ElementLoops fp16_loops{2, encode_fp16, decode_fp16};
const ElementLoops power_loops{1, encode_power, decode_power};

std::unique_ptr<Codec> make_element_codec(const ElementLoops& loops) {
  return std::make_unique<ElementCodec>(loops);
}

}  // namespace lockstep::comm
