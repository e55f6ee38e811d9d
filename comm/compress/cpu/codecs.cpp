// The host's codecs by name.
#include "comm/compress/cpu/block_codec.h"
#include "comm/compress/cpu/casts.h"
#include "core/error.h"

namespace lockstep::comm {

std::unique_ptr<Codec> make_cpu_codec(const CodecSpec& spec) {
  const BlockFormat format = BlockFormat::of(spec);
  switch (spec.kind) {
    case CodecKind::bf16:
      return make_element_codec(bf16_loops);
    case CodecKind::fp16:
      return make_element_codec(fp16_loops);
    case CodecKind::natural:
      return make_element_codec(power_loops);
    case CodecKind::int8:
      return make_block_codec(int8_loops, format);
    case CodecKind::int4:
      return make_block_codec(int4_loops, format);
    case CodecKind::sign:
      return make_block_codec(sign_loops, format);
    case CodecKind::vote:
      return make_block_codec(vote_loops, format);
    case CodecKind::ternary:
      return make_block_codec(ternary_loops, format);
  }
  throw Error(Fault::internal, "an unknown codec");
}

}  // namespace lockstep::comm
