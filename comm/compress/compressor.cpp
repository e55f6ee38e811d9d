#include "comm/compress/compressor.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/random.h"
#include "core/round_up.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

/// The places of `slot`'s stored elements that stand for no canonical element.
std::vector<std::int64_t> padding_of(const Slot& slot) {
  std::vector<std::int64_t> places;
  if (!slot.storage || slot.stored_count == slot.shape.count()) return places;
  const std::vector<float> ones(static_cast<std::size_t>(slot.shape.count()), 1.0f);
  std::vector<float> stored(static_cast<std::size_t>(slot.stored_count));
  slot.storage->to_storage(ones, stored);
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if (stored[i] == 0) places.push_back(static_cast<std::int64_t>(i));
  }
  return places;
}

/// The slot as it lies in the packed array.
Slot packed_slot(const Piece& piece) {
  Slot slot = *piece.slot;
  slot.offset = piece.first;
  return slot;
}

/// Everything in the packed array that is no element of a slot.
std::vector<std::int32_t> voids_of(const Group& group) {
  std::vector<std::int32_t> voids;
  for (std::size_t i = 0; i < group.pieces.size(); ++i) {
    const Piece& piece = group.pieces[i];
    for (std::int64_t place : piece.padding) voids.push_back(static_cast<std::int32_t>(piece.first + place));
    const std::int64_t end = i + 1 < group.pieces.size() ? group.pieces[i + 1].first : group.count;
    for (std::int64_t place = piece.first + piece.slot->stored_count; place < end; ++place)
      voids.push_back(static_cast<std::int32_t>(place));
  }
  return voids;
}

}  // namespace

Group make_group(int bucket, const std::vector<const Slot*>& slots) {
  Group group{.bucket = bucket, .pieces = {}, .count = 0};
  for (const Slot* slot : slots) {
    group.pieces.push_back({slot, group.count, padding_of(*slot)});
    group.count += round_up(slot->stored_count, kSlotAlignment);
  }
  if (group.count >= std::int64_t{1} << 31)
    throw Error(Fault::config, "a bucket of 2^31 elements or more cannot be compressed",
                "lower exchange.bucket_mib");
  return group;
}

Compressor::Compressor(const CompressorContext& context, bool feedback)
    : context_(context), kernels_(compress_kernels(context.device)), feedback_(feedback) {
  if (feedback) residual_ = Remembered(context.verdict, Dtype::f32, context.group.count);
  voids_ = voids_in({0, context.group.count});
}

FlatArray Compressor::voids_in(Range part) const {
  std::vector<std::int32_t> inside;
  for (const std::int32_t place : voids_of(group())) {
    if (place >= part.first && place < part.first + part.count)
      inside.push_back(place - static_cast<std::int32_t>(part.first));
  }
  FlatArray voids = make_array(context_.device, Dtype::i32, static_cast<std::int64_t>(inside.size()));
  if (!inside.empty()) copy_from_host(inside.data(), voids.span);
  return voids;
}

FlatArray Compressor::bytes(std::int64_t count) const {
  return make_array(context_.device, Dtype::u8, count);
}
FlatArray Compressor::floats(std::int64_t count) const {
  return make_array(context_.device, Dtype::f32, count);
}

std::uint32_t Compressor::key(const Turn& turn, std::string_view purpose, int rank) const {
  const std::uint64_t place =
      static_cast<std::uint64_t>(context_.group.bucket) << 32 | static_cast<std::uint32_t>(rank);
  const RandomSource source(context_.seed + name_hash(purpose), "compress",
                            static_cast<std::uint64_t>(turn.numbers.step));
  return source.bits(place);
}

void Compressor::exchange(FlatSpan gradients, FlatSpan scratch, const StepNumbers& numbers,
                          FlatSpan nonfinite, Collectives& collectives, Stream& stream) {
  clock_.start(stream);
  settle_more(stream);
  if (!feedback_ && average_in_place(gradients, nonfinite, stream)) return mark(Phase::decode, stream);
  const std::int64_t count = group().count;
  const FlatSpan mean = scratch.part(0, count);
  const FlatSpan values = feedback_ ? residual_.current() : scratch.part(count, count);
  const Units unit = units(numbers);
  pack(gradients, values, unit.in, nonfinite, stream);
  if (unit.in == 0) {  // a rate of 0: nothing to move by
    vector::fill(mean, 0, stream);
    unpack(mean, gradients, 1, stream);
    return;
  }
  average({numbers, values, mean, collectives, stream});
  if (feedback_) kernels_.clear_at(values, voids_.span, stream);
  unpack(mean, gradients, unit.out, stream);
  mark(Phase::decode, stream);
}

void Compressor::average_exactly(const Turn& turn) {
  vector::cast(turn.values, turn.mean, turn.stream);
  vector::fill(turn.values, 0, turn.stream);
  turn.collectives.sum(turn.mean, turn.stream, group().bucket);
  mark(Phase::wire, turn.stream);
  vector::scale(1.0f / static_cast<float>(context_.ranks), turn.mean, turn.stream);
}

std::int64_t Compressor::exact_bytes(const Schedule& schedule) const {
  return schedule.stated_cost(context_.rank, context_.ranks, group().count).elements * 4;
}

Compressor::Units Compressor::units(const StepNumbers& numbers) const {
  const auto ranks = static_cast<float>(context_.ranks);
  if (!feedback_) return {1, ranks};
  const float unit = numbers.rate * numbers.scale;
  return {unit * ranks, 1.0f / unit};
}

void Compressor::pack(FlatSpan gradients, FlatSpan values, float factor, FlatSpan nonfinite, Stream& stream) {
  for (const Piece& piece : group().pieces) {
    const std::int64_t length = piece.slot->stored_count;
    const FlatSpan gradient = gradients.part(piece.slot->offset, length);
    const FlatSpan value = values.part(piece.first, length);
    if (feedback_) {
      kernels_.add_residual(gradient, residual_.settled().part(piece.first, length), value, factor,
                            residual_.verdict()->span, nonfinite, stream);
    } else {
      kernels_.scaled(gradient, value, factor, nonfinite, stream);
    }
  }
  kernels_.clear_at(values, voids_.span, stream);
  kernels_.clear_if(values, nonfinite, stream);
}

void Compressor::unpack(FlatSpan mean, FlatSpan gradients, float factor, Stream& stream) {
  kernels_.clear_at(mean, voids_.span, stream);
  for (const Piece& piece : group().pieces) {
    const std::int64_t length = piece.slot->stored_count;
    kernels_.scaled(mean.part(piece.first, length), gradients.part(piece.slot->offset, length), factor, {},
                    stream);
  }
}

void Compressor::save(StateWriter& writer) const {
  if (feedback_) save_pieces(writer.scope("residual"), residual());
  save_owner(writer);
  save_more(writer);
}

void Compressor::save_pieces(StateWriter writer, FlatSpan packed) const {
  for (const Piece& piece : group().pieces)
    writer.floats(piece.slot->name, piece.slot->shape, read_slot(packed_slot(piece), packed));
}

void Compressor::load_pieces(const StateReader& reader, Remembered& state, float share) const {
  for (const Piece& piece : group().pieces) {
    const Slot slot = packed_slot(piece);
    if (!reader.has(slot.name)) continue;
    const std::vector<float> saved = reader.floats(slot.name, slot.shape);
    std::vector<float> values = read_slot(slot, state.settled());
    for (std::size_t i = 0; i < saved.size(); ++i) values[i] += share * saved[i];
    write_slot(slot, state.settled(), values);
    write_slot(slot, state.current(), values);
  }
}

FlatSpan Compressor::residual() const noexcept { return feedback_ ? residual_.standing() : FlatSpan{}; }

/// The owner's chunk, spread over the slots that it meets.
void Compressor::save_owner(StateWriter& writer) const {
  const FlatSpan owned = owner_residual();
  if (owned.count == 0) return;
  const FlatArray whole = make_array(context_.device, Dtype::f32, group().count);
  std::vector<float> host(static_cast<std::size_t>(owned.count));
  copy_to_host(owned, host.data());
  copy_from_host(host.data(), whole.span.part(owner_first(), owned.count));
  StateWriter owner = writer.scope("owner");
  for (const Piece& piece : group().pieces) {
    const bool meets =
        piece.first < owner_first() + owned.count && piece.first + piece.slot->stored_count > owner_first();
    if (meets) owner.floats(piece.slot->name, piece.slot->shape, read_slot(packed_slot(piece), whole.span));
  }
}

void Compressor::load(const StateReader& reader) {
  if (feedback_) load_pieces(reader.scope("residual"), residual_, 1);
  if (const FlatSpan owned = owner_residual(); owned.count > 0) {
    const FlatArray whole = make_array(context_.device, Dtype::f32, group().count);
    const StateReader owner = reader.scope("owner");
    for (const Piece& piece : group().pieces) {
      const Slot slot = packed_slot(piece);
      if (owner.has(slot.name)) write_slot(slot, whole.span, owner.floats(slot.name, slot.shape));
    }
    std::vector<float> host(static_cast<std::size_t>(owned.count));
    copy_to_host(whole.span.part(owner_first(), owned.count), host.data());
    restore_owner(host);
  }
  load_more(reader);
}

void Compressor::carry(const StateReader& reader, float share) {
  if (feedback_) {
    load_pieces(reader.scope("residual"), residual_, share);
    load_pieces(reader.scope("owner"), residual_, 1);
  }
  carry_more(reader, share);
}

}  // namespace lockstep::comm
