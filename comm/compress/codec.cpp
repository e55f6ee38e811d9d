#include "comm/compress/codec.h"

#include "core/vector/vector.h"

namespace lockstep::comm {

void Codec::decode_sum(std::span<const FlatSpan> wires, float factor, FlatSpan out, Stream& stream) const {
  decode(wires.front(), out, Into::replace, stream);
  for (const FlatSpan& wire : wires.subspan(1)) decode(wire, out, Into::add, stream);
  vector::scale(factor, out, stream);
}

}  // namespace lockstep::comm
