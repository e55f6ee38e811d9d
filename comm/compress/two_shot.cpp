#include "comm/compress/two_shot.h"

#include <algorithm>

#include "core/round_up.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kWireAlignment = 64;

/// Chunks of whole blocks, as equal as that allows.
std::vector<Range> cut(std::int64_t count, std::int64_t grain, int ranks) {
  std::vector<Range> chunks;
  for (int owner = 0; owner < ranks; ++owner) {
    const Range blocks = chunk_of({0, (count + grain - 1) / grain}, ranks, owner);
    const std::int64_t first = std::min(count, blocks.first * grain);
    chunks.push_back({first, std::min(count, (blocks.first + blocks.count) * grain) - first});
  }
  return chunks;
}

}  // namespace

TwoShot::TwoShot(const CompressorContext& context, bool feedback, std::unique_ptr<Codec> codec,
                 std::unique_ptr<Codec> return_codec)
    : Compressor(context, feedback),
      codec_(std::move(codec)),
      return_codec_(std::move(return_codec)),
      chunks_(cut(context.group.count, std::max(codec_->grain(), back().grain()), context.ranks)) {
  if (!feedback && !return_codec_) straight_ = StraightTwoShot::make(context, *codec_, chunks_);
  if (!straight_) make_wires();
  if (feedback) owner_ = Remembered(context.verdict, Dtype::f32, own_chunk().count);
  own_voids_ = voids_in(own_chunk());
}

void TwoShot::make_wires() {
  const std::int64_t mine = own_chunk().count;
  std::vector<std::int64_t> sizes;
  for (const Range& chunk : chunks_) sizes.push_back(codec_->payload(chunk.count));
  for (int rank = 0; rank < context().ranks; ++rank) sizes.push_back(codec_->payload(mine));
  for (const Range& chunk : chunks_) sizes.push_back(back().payload(chunk.count));
  std::int64_t total = 0;
  for (std::int64_t size : sizes) total += round_up(size, kWireAlignment);
  wire_ = bytes(total);
  std::int64_t at = 0;
  for (std::size_t i = 0; i < sizes.size(); at += round_up(sizes[i++], kWireAlignment)) {
    const std::size_t ranks = chunks_.size();
    (i < ranks ? sent_ : i < 2 * ranks ? received_ : returned_).push_back(wire_.span.part(at, sizes[i]));
  }
}

bool TwoShot::average_in_place(FlatSpan gradients, FlatSpan nonfinite, Stream& stream) {
  return straight_ && straight_->sum(
                          gradients, nonfinite, [&](Phase phase) { mark(phase, stream); }, stream);
}

std::int64_t TwoShot::stated_bytes(const Schedule& /*schedule*/, std::int64_t /*step*/) const {
  std::int64_t bytes = 0;
  for (std::size_t peer = 0; peer < chunks_.size(); ++peer) {
    if (static_cast<int>(peer) == context().rank) continue;
    bytes += codec_->payload(chunks_[peer].count) + back().payload(own_chunk().count);
  }
  return bytes;
}

FlatSpan TwoShot::owner_residual() const noexcept { return owner_.standing(); }
std::int64_t TwoShot::owner_first() const noexcept { return own_chunk().first; }

void TwoShot::restore_owner(std::span<const float> values) {
  copy_from_host(values.data(), owner_.settled());
  copy_from_host(values.data(), owner_.current());
}

void TwoShot::settle_more(Stream& stream) { owner_.settle(stream); }

void TwoShot::average(const Turn& turn) {
  if (returned_.empty()) make_wires();
  scatter(turn);
  own(turn);
  gather(turn);
}

void TwoShot::scatter(const Turn& turn) {
  const auto me = static_cast<std::size_t>(context().rank);
  const std::uint32_t draw = key(turn, "chunk", context().rank);
  std::vector<Send> sends;
  std::vector<Recv> receives;
  for (std::size_t peer = 0; peer < chunks_.size(); ++peer) {
    const FlatSpan chunk = turn.values.part(chunks_[peer].first, chunks_[peer].count);
    codec_->encode(chunk, peer == me ? received_[me] : sent_[peer], feedback() ? chunk : FlatSpan{},
                   draw + static_cast<std::uint32_t>(peer), turn.stream);
    if (peer == me) continue;
    if (sent_[peer].count > 0) sends.push_back({static_cast<int>(peer), sent_[peer]});
    if (received_[peer].count > 0) receives.push_back({static_cast<int>(peer), received_[peer]});
  }
  mark(Phase::encode, turn.stream);
  turn.collectives.exchange(sends, receives, turn.stream);
  mark(Phase::wire, turn.stream);
}

/// Sums this rank's chunk and encodes its mean.
void TwoShot::own(const Turn& turn) {
  const FlatSpan mine = turn.mean.part(own_chunk().first, own_chunk().count);
  if (mine.count == 0) return;
  codec_->decode_sum(received_, 1.0f / static_cast<float>(context().ranks), mine, turn.stream);
  if (feedback()) vector::add(owner_.current(), mine, turn.stream);
  mark(Phase::decode, turn.stream);
  back().encode(mine, returned_[static_cast<std::size_t>(context().rank)],
                feedback() ? owner_.current() : FlatSpan{}, key(turn, "owner", context().rank), turn.stream);
  if (feedback()) kernels().clear_at(owner_.current(), own_voids_.span, turn.stream);
  mark(Phase::encode, turn.stream);
}

void TwoShot::gather(const Turn& turn) {
  const auto me = static_cast<std::size_t>(context().rank);
  std::vector<Send> sends;
  std::vector<Recv> receives;
  for (std::size_t peer = 0; peer < chunks_.size(); ++peer) {
    if (peer == me) continue;
    if (returned_[me].count > 0) sends.push_back({static_cast<int>(peer), returned_[me]});
    if (returned_[peer].count > 0) receives.push_back({static_cast<int>(peer), returned_[peer]});
  }
  turn.collectives.exchange(sends, receives, turn.stream);
  mark(Phase::wire, turn.stream);
  for (std::size_t owner = 0; owner < chunks_.size(); ++owner) {
    if (chunks_[owner].count == 0) continue;
    back().decode(returned_[owner], turn.mean.part(chunks_[owner].first, chunks_[owner].count),
                  Codec::Into::replace, turn.stream);
  }
}

}  // namespace lockstep::comm
