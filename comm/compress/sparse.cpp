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

SparseMessage::SparseMessage(const CompressorContext& context, std::vector<Selection> runs)
    : rank_(context.rank),
      ranks_(context.ranks),
      capacity_(kept(runs)),
      count_(capacity_),
      mine_(make_array(context.device, Dtype::i32, 2 * capacity_)),
      all_(make_array(context.device, Dtype::i32, 2 * capacity_ * context.ranks)) {
  use(std::move(runs));
}

void SparseMessage::use(std::vector<Selection> runs) {
  count_ = kept(runs);
  runs_ = make_runs(std::move(runs));
}

FlatSpan SparseMessage::indices_of(FlatSpan message) const { return message.part(0, count_); }
FlatSpan SparseMessage::values_of(FlatSpan message) const {
  FlatSpan values = message.part(count_, count_);
  values.dtype = Dtype::f32;
  return values;
}

void SparseMessage::select(FlatSpan values, Stream& stream) {
  const Kernels& kernels = compress_kernels(stream.device());
  kernels.select(values, runs_, indices(), stream);
  kernels.pick(values, indices(), values_of(mine_.span), stream);
}

void SparseMessage::gather(Collectives& collectives, Stream& stream) {
  collectives.gather(mine_.span.part(0, 2 * count_), all_.span.part(0, 2 * count_ * ranks_), stream);
}

void SparseMessage::add_all(FlatSpan sum, float factor, Stream& stream) {
  vector::fill(sum, 0, stream);
  for (int rank = 0; rank < ranks_; ++rank) {
    const FlatSpan message = all_.span.part(2 * count_ * rank, 2 * count_);
    compress_kernels(stream.device()).add_at(values_of(message), indices_of(message), sum, factor, stream);
  }
}

std::int64_t SparseMessage::stated_bytes(std::int64_t elements) const {
  return gather_plan(rank_, ranks_, 2 * elements).cost().elements * 4;
}

}  // namespace lockstep::comm
