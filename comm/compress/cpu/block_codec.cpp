#include "comm/compress/cpu/block_codec.h"

#include <algorithm>
#include <cstring>

#include "comm/compress/cpu/casts.h"

namespace lockstep::comm {
namespace {

constexpr int kLargestBlock = 1024;

class BlockCodec final : public Codec {
 public:
  BlockCodec(const BlockLoops& loops, const BlockFormat& format) : loops_(loops), format_(format) {}

  std::int64_t grain() const noexcept override { return loops_.shape.block; }
  std::int64_t payload(std::int64_t count) const noexcept override { return loops_.shape.payload(count); }

  void encode(FlatSpan values, FlatSpan wire, FlatSpan residual, std::uint32_t key,
              Stream& stream) const override {
    stream.host([this, values, wire, residual, key] {
      const auto places = loops_.shape.places(wire.data, values.count);
      float* rest = residual.count > 0 ? residual.as<float>().data() : nullptr;
      visit_floats(values, [&](const float* x, std::int64_t first, std::int64_t count) {
        encode_blocks(x, first, count, places, rest != nullptr ? rest + first : nullptr, key);
      });
    });
  }

  void decode(FlatSpan wire, FlatSpan out, Into into, Stream& stream) const override {
    stream.host([this, wire, out, add = into == Into::add] {
      float* x = out.as<float>().data();
      const auto places = loops_.shape.places(wire.data, out.count);
      const std::int64_t whole = out.count / loops_.shape.block;
      loops_.decode(places.scales, places.codes, whole, x, add, format_);
      const std::int64_t done = whole * loops_.shape.block;
      if (done == out.count) return;
      float last[kLargestBlock] = {};
      const auto bytes = static_cast<std::size_t>(out.count - done) * sizeof(float);
      if (add) std::memcpy(last, x + done, bytes);
      loops_.decode(places.scales + whole, places.codes + whole * loops_.shape.block_bytes, 1, last, add,
                    format_);
      std::memcpy(x + done, last, bytes);
    });
  }

 private:
  /// Values [first, first + count) of a call, from a block's begin.
  void encode_blocks(const float* x, std::int64_t first, std::int64_t count, const BlockShape::Places& places,
                     float* rest, std::uint32_t key) const {
    const std::int64_t before = first / loops_.shape.block;
    std::uint16_t* scales = places.scales + before;
    std::uint8_t* codes = places.codes + before * loops_.shape.block_bytes;
    const std::int64_t whole = count / loops_.shape.block;
    loops_.encode(x, whole, scales, codes, rest, format_, key, static_cast<std::uint32_t>(first));
    const std::int64_t done = whole * loops_.shape.block;
    if (done == count) return;
    const auto bytes = static_cast<std::size_t>(count - done) * sizeof(float);
    float last[kLargestBlock] = {};
    std::memcpy(last, x + done, bytes);
    loops_.encode(last, 1, scales + whole, codes + whole * loops_.shape.block_bytes,
                  rest != nullptr ? last : nullptr, format_, key, static_cast<std::uint32_t>(first + done));
    if (rest != nullptr) std::memcpy(rest + done, last, bytes);
  }

  BlockLoops loops_;
  BlockFormat format_;
};

}  // namespace

std::unique_ptr<Codec> make_block_codec(const BlockLoops& loops, const BlockFormat& format) {
  return std::make_unique<BlockCodec>(loops, format);
}

}  // namespace lockstep::comm
