#include "comm/compress/moment_signs.h"

#include "core/vector/vector.h"

namespace lockstep::comm {

MomentSigns::MomentSigns(const CompressorContext& context, const Kind& kind)
    : TwoShot(context, true, make_codec({.kind = CodecKind::sign}, context.device)),
      kind_(kind),
      moment_(context.verdict, Dtype::f32, context.group.count) {}

std::int64_t MomentSigns::stated_bytes(const Schedule& schedule, std::int64_t step) const {
  return is_exact(step) ? exact_bytes(schedule) : TwoShot::stated_bytes(schedule, step);
}

Compressor::Units MomentSigns::units(const StepNumbers& numbers) const {
  return {take() * numbers.scale * static_cast<float>(context().ranks), 1.0f / numbers.scale};
}

void MomentSigns::settle_more(Stream& stream) {
  TwoShot::settle_more(stream);
  moment_.settle(stream);
}

void MomentSigns::average(const Turn& turn) {
  if (is_exact(turn.numbers.step)) return sum_exactly(turn);
  vector::axpy(context().momentum, moment_.current(), turn.values, turn.stream);
  TwoShot::average(turn);
  vector::cast(turn.mean, moment_.current(), turn.stream);
  kernels().clear_at(moment_.current(), voids(), turn.stream);
}

/// The mean gradient, and the moment that it makes.
void MomentSigns::sum_exactly(const Turn& turn) {
  vector::axpy(-1, residual_before(), turn.values, turn.stream);
  average_exactly(turn);
  vector::cast(residual_before(), turn.values, turn.stream);
  vector::scale(context().momentum, moment_.current(), turn.stream);
  vector::add(turn.mean, moment_.current(), turn.stream);
  vector::scale(1.0f / take(), turn.mean, turn.stream);
}

void MomentSigns::save_more(StateWriter& writer) const {
  save_pieces(writer.scope("moment"), moment_.standing());
}
void MomentSigns::load_more(const StateReader& reader) { load_pieces(reader.scope("moment"), moment_, 1); }
void MomentSigns::carry_more(const StateReader& reader, float share) {
  load_pieces(reader.scope("moment"), moment_, share);
}

}  // namespace lockstep::comm
