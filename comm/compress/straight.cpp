#include "comm/compress/straight.h"

#include <algorithm>

#include "core/round_up.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kWireAlignment = 256;

/// Where the group begins in the gradient array, when its slots lie there as in the packed array.
std::optional<std::int64_t> run_of(const Group& group) {
  if (group.pieces.empty()) return std::nullopt;
  const std::int64_t first = group.pieces.front().slot->offset;
  for (const Piece& piece : group.pieces) {
    if (piece.slot->offset - piece.first != first) return std::nullopt;
  }
  return first;
}

}  // namespace

std::unique_ptr<StraightTwoShot> StraightTwoShot::make(const CompressorContext& context, const Codec& codec,
                                                       const std::vector<Range>& chunks) {
  const auto first = run_of(context.group);
  if (context.mapped == nullptr || !first || !codec.straight()) return nullptr;
  return std::unique_ptr<StraightTwoShot>(new StraightTwoShot(context, codec, chunks, *first));
}

StraightTwoShot::StraightTwoShot(const CompressorContext& context, const Codec& codec,
                                 const std::vector<Range>& chunks, std::int64_t first)
    : mapped_(*context.mapped),
      codec_(codec),
      chunks_(chunks),
      rank_(context.rank),
      ranks_(context.ranks),
      bucket_(context.group.bucket),
      first_(first) {
  const auto room = [&](int owner) { return round_up(codec_.payload(chunk(owner).count), kWireAlignment); };
  std::int64_t most = 0, all = 0;
  for (int owner = 0; owner < ranks_; ++owner) {
    most = std::max(most, room(owner));
    all += room(owner);
  }
  memory_ = mapped_.lend(static_cast<std::size_t>(ranks_ * most + all));
  // Blocks look alike on every rank, or views would be of other places.
  const FlatSpan block = memory_.view(Dtype::u8, static_cast<std::int64_t>(memory_.bytes()));
  std::int64_t at = ranks_ * most;
  for (int rank = 0; rank < ranks_; at += room(rank++)) {
    received_.push_back(block.part(rank * most, codec_.payload(chunk(rank_).count)));
    returned_.push_back(block.part(at, codec_.payload(chunk(rank).count)));
  }
  for (int rank = 0; rank < ranks_; ++rank) {
    there_.push_back(mapped_.view(rank, block.part(rank_ * most, codec_.payload(chunk(rank).count))));
    if (rank != rank_) targets_.push_back(mapped_.view(rank, returned_[static_cast<std::size_t>(rank_)]));
  }
}

FlatSpan StraightTwoShot::part(FlatSpan values, int owner) const {
  return values.part(chunk(owner).first, chunk(owner).count);
}

/// Payloads of the last exchange have been decoded on every rank that came to its second meeting, means on
/// every rank that comes to this one's first: so both may be overwritten.
bool StraightTwoShot::sum(FlatSpan gradients, FlatSpan nonfinite, const std::function<void(Phase)>& mark,
                          Stream& stream) {
  const std::int64_t count = chunks_.back().first + chunks_.back().count;
  if (gradients.dtype != Dtype::f32 || first_ + count > gradients.count) return false;
  const FlatSpan values = gradients.part(first_, count);
  scatter(values, nonfinite, stream);
  mark(Phase::encode);
  mapped_.meet(bucket_, stream);
  mark(Phase::wire);
  own(values, nonfinite, stream);
  mark(Phase::encode);
  mapped_.meet(bucket_, stream);
  mark(Phase::wire);
  gather(values, stream);
  return true;
}

void StraightTwoShot::scatter(FlatSpan values, FlatSpan nonfinite, Stream& stream) {
  for (int step = 1; step < ranks_; ++step) {
    const int owner = (rank_ + step) % ranks_;
    const FlatSpan wire = there_[static_cast<std::size_t>(owner)];
    if (wire.count == 0) continue;
    codec_.push(part(values, owner), wire, nonfinite, stream);
    mapped_.count(1, wire.count);
  }
}

void StraightTwoShot::own(FlatSpan values, FlatSpan nonfinite, Stream& stream) {
  if (chunk(rank_).count == 0) return;
  codec_.own({.wires = received_,
              .owner = rank_,
              .values = part(values, rank_),
              .share = 1.0f / static_cast<float>(ranks_),
              .factor = static_cast<float>(ranks_),
              .targets = targets_,
              .nonfinite = nonfinite},
             stream);
  for (const FlatSpan& target : targets_) mapped_.count(1, target.count);
}

void StraightTwoShot::gather(FlatSpan values, Stream& stream) {
  for (int owner = 0; owner < ranks_; ++owner) {
    if (owner == rank_ || chunk(owner).count == 0) continue;
    codec_.decode_sum({&returned_[static_cast<std::size_t>(owner)], 1}, static_cast<float>(ranks_),
                      part(values, owner), stream);
  }
}

}  // namespace lockstep::comm
