#include "comm/compress/sparse.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/vector/vector.h"

namespace lockstep::comm {

std::vector<Selection> selections(const Group& group, double density) {
  std::vector<Selection> runs;
  for (const Piece& piece : group.pieces) {
    const std::int64_t count = piece.slot->stored_count;
    const auto keep = static_cast<std::int64_t>(std::llround(density * static_cast<double>(count)));
    runs.push_back({piece.first, count, std::clamp<std::int64_t>(keep, 1, count)});
  }
  return runs;
}

std::vector<Selection> blocks(const Group& group, std::int64_t length) {
  std::vector<Selection> runs;
  for (const Piece& piece : group.pieces) {
    for (std::int64_t at = 0; at < piece.slot->stored_count; at += length) {
      const std::int64_t count = std::min(length, piece.slot->stored_count - at);
      runs.push_back({piece.first + at, count, count});
    }
  }
  return runs;
}

std::int64_t kept(const std::vector<Selection>& runs) {
  return std::accumulate(runs.begin(), runs.end(), std::int64_t{0},
                         [](std::int64_t sum, const Selection& run) { return sum + run.keep; });
}

IndexPart::IndexPart(const CompressorContext& context, Runs runs)
    : bitmap_((context.group.count + 31) / 32), count_(kept(runs->list)), runs_(std::move(runs)) {
  if (is_bitmap()) indices_ = make_array(context.device, Dtype::i32, count_);
}

void IndexPart::use(Runs runs) {
  count_ = kept(runs->list);
  runs_ = std::move(runs);
}

std::int64_t IndexPart::words(std::int64_t elements) const { return std::min(elements, bitmap_); }

FlatSpan IndexPart::indices(FlatSpan words) const {
  return is_bitmap() ? indices_.span.part(0, count_) : words;
}

void IndexPart::select(FlatSpan values, FlatSpan words, Stream& stream) const {
  const Kernels& kernels = compress_kernels(stream.device());
  kernels.select(values, runs_, indices(words), stream);
  if (is_bitmap()) kernels.to_bitmap(indices(words), words, stream);
}

void IndexPart::read(FlatSpan words, Stream& stream) const {
  if (is_bitmap()) compress_kernels(stream.device()).from_bitmap(words, runs_, indices(words), stream);
}

SparseMessage::SparseMessage(const CompressorContext& context, std::vector<Selection> runs)
    : rank_(context.rank),
      ranks_(context.ranks),
      capacity_(kept(runs)),
      count_(capacity_),
      part_(context, make_runs(std::move(runs))),
      mine_(make_array(context.device, Dtype::i32, length(capacity_))),
      all_(make_array(context.device, Dtype::i32, length(capacity_) * context.ranks)) {}

void SparseMessage::use(std::vector<Selection> runs) {
  count_ = kept(runs);
  part_.use(make_runs(std::move(runs)));
}

FlatSpan SparseMessage::words_of(FlatSpan message) const { return message.part(0, part_.words()); }
FlatSpan SparseMessage::values_of(FlatSpan message) const {
  FlatSpan values = message.part(part_.words(), count_);
  values.dtype = Dtype::f32;
  return values;
}

void SparseMessage::select(FlatSpan values, Stream& stream) {
  part_.select(values, words_of(mine_.span), stream);
  compress_kernels(stream.device()).pick(values, indices(), values_of(mine_.span), stream);
}

void SparseMessage::gather(Collectives& collectives, Stream& stream) {
  collectives.gather(mine_.span.part(0, length(count_)), all_.span.part(0, length(count_) * ranks_), stream);
}

void SparseMessage::add_all(FlatSpan sum, float factor, Stream& stream) {
  vector::fill(sum, 0, stream);
  for (int rank = 0; rank < ranks_; ++rank) {
    const FlatSpan message = all_.span.part(length(count_) * rank, length(count_));
    part_.read(words_of(message), stream);
    compress_kernels(stream.device())
        .add_at(values_of(message), part_.indices(words_of(message)), sum, factor, stream);
  }
}

std::int64_t SparseMessage::stated_bytes(std::int64_t elements) const {
  return gather_plan(rank_, ranks_, length(elements)).cost().elements * 4;
}

}  // namespace lockstep::comm
