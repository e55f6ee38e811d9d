#include "comm/compress/codec.h"

#include "core/error.h"
#include "core/vector/vector.h"

namespace lockstep::comm {

void Codec::decode_sum(std::span<const FlatSpan> wires, float factor, FlatSpan out, Stream& stream) const {
  decode(wires.front(), out, Into::replace, stream);
  for (const FlatSpan& wire : wires.subspan(1)) decode(wire, out, Into::add, stream);
  vector::scale(factor, out, stream);
}

void Codec::push(FlatSpan /*values*/, FlatSpan /*wire*/, FlatSpan /*nonfinite*/, Stream& /*stream*/) const {
  throw Error(Fault::internal, "this codec does not encode into another rank's memory");
}
void Codec::own(const OwnerTurn& /*turn*/, Stream& /*stream*/) const {
  throw Error(Fault::internal, "this codec does not sum in one pass");
}

}  // namespace lockstep::comm
