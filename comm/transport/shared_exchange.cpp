#include "comm/transport/shared_exchange.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/allreduce/schedule.h"
#include "comm/transport/patience.h"
#include "core/error.h"

namespace lockstep::comm {

namespace {

/// Small enough that a piece of every rank stays in the cache between its meetings, large enough that
/// meetings (about a microsecond) do not show beside copying it.
constexpr std::size_t kPieceBytes = 512 << 10;
constexpr std::size_t kHead = 4096;
static_assert(sizeof(SharedControl) <= kHead && sizeof(SharedControl::Arrival) == 64);

/// A rank offers its core to others after so many looks at a counter, two to three microseconds. Where nobody
/// wants it that costs less than one; where another rank waits for this core, spinning on would only delay
/// it.
constexpr int kLooks = 64;
/// Nothing is wrong with a wait shorter than this.
constexpr auto kImpatient = std::chrono::milliseconds(1);

/// Tells the core that this is a spin loop.
void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

SharedCounter& arrivals(SharedControl& of) { return of.arrived.meetings; }
SharedCounter& ends(SharedControl& of) { return of.done; }

FlatSpan view(std::byte* data, const FlatSpan& like) { return {data, like.count, like.dtype, like.device}; }

}  // namespace

std::size_t SharedExchange::stage_bytes() noexcept { return kHead + 2 * kPieceBytes; }
std::size_t SharedExchange::piece_bytes() noexcept { return kPieceBytes; }

SharedExchange::SharedExchange(int me, const std::vector<std::byte*>& stages, bool crowded)
    : me_(me), crowded_(crowded), stages_(stages) {
  for (std::byte* each : stages) controls_.push_back(reinterpret_cast<SharedControl*>(each));
}

void SharedExchange::add_blocks(std::vector<std::byte*> blocks, std::size_t bytes) {
  blocks_.push_back({std::move(blocks), bytes});
}

std::byte* SharedExchange::stage(int rank) const noexcept {
  return stages_[static_cast<std::size_t>(rank)] + kHead + meeting_ % 2 * kPieceBytes;
}

/// Block index times 2^48, plus the offset: the same on every rank for the same array.
std::int64_t SharedExchange::place_of(const FlatSpan& data) const noexcept {
  const auto* begin = static_cast<const std::byte*>(data.data);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::byte* block = blocks_[i].first[static_cast<std::size_t>(me_)];
    if (begin < block || begin + data.bytes() > block + blocks_[i].bytes) continue;
    return (static_cast<std::int64_t>(i) << 48) + (begin - block);
  }
  return -1;
}

void SharedExchange::wait(Counter counter, const Impatience& impatience) const {
  for (int peer = 0; peer < size(); ++peer) {
    const SharedCounter& theirs = counter(control(peer));
    Patience patience = Patience::without_spinning();  // the looks before each pause are that
    std::uint64_t value = 0;
    for (int look = 1; (value = theirs.value()) < meeting_; ++look) {
      if (!crowded_ && look % kLooks != 0) {
        relax();
        continue;
      }
      if (!patience.spin_or_yield())
        theirs.sleep(value, std::min<std::chrono::nanoseconds>(patience.nap(), kImpatient));
      if (patience.waited() > kImpatient) impatience([&] { return missing(counter); });
    }
  }
}

std::vector<int> SharedExchange::missing(Counter counter) const {
  std::vector<int> peers;
  for (int peer = 0; peer < size(); ++peer) {
    if (counter(control(peer)).value() < meeting_) peers.push_back(peer);
  }
  return peers;
}

void SharedExchange::require_same_call() const {
  const auto& mine = control(me_).arrived.calls[meeting_ % 2];
  for (int peer = 0; peer < size(); ++peer) {
    const auto& theirs = control(peer).arrived.calls[meeting_ % 2];
    if (theirs.bytes == mine.bytes && theirs.place == mine.place) continue;
    throw Error(Fault::internal,
                fmt::format("rank {} sums {} bytes at place {} of shared memory, rank {} {} bytes at {}", me_,
                            mine.bytes, mine.place, peer, theirs.bytes, theirs.place));
  }
}

void SharedExchange::arrive(const FlatSpan& data, std::int64_t place, const Impatience& impatience) {
  SharedControl::Arrival& mine = control(me_).arrived;
  mine.calls[meeting_ % 2] = {static_cast<std::int64_t>(data.bytes()), place};
  mine.meetings.raise(meeting_);
  wait(arrivals, impatience);
  require_same_call();
}

void SharedExchange::finish(const Impatience& impatience) {
  control(me_).done.raise(meeting_);
  wait(ends, impatience);
}

void SharedExchange::one_shot(FlatSpan data, const Impatience& impatience) {
  ++meeting_;
  std::memcpy(stage(me_), data.data, data.bytes());
  arrive(data, -1, impatience);
  operands_.clear();
  for (int peer = 0; peer < size(); ++peer) operands_.push_back(peer == me_ ? data : view(stage(peer), data));
  adder_.run(operands_, {&data, 1});
}

void SharedExchange::two_shot(FlatSpan data, const Impatience& impatience) {
  const std::int64_t place = place_of(data);
  if (place >= 0) return in_place(data, place, impatience);
  const auto longest = static_cast<std::int64_t>(kPieceBytes / size_of(data.dtype));
  for (std::int64_t at = 0; at < data.count; at += longest) {
    staged(data.part(at, std::min(longest, data.count - at)), impatience);
  }
}

void SharedExchange::in_place(FlatSpan data, std::int64_t place, const Impatience& impatience) {
  ++meeting_;
  arrive(data, place, impatience);
  const Blocks& blocks = blocks_[static_cast<std::size_t>(place >> 48)];
  const std::int64_t offset = place & ((std::int64_t{1} << 48) - 1);
  const Range own = chunk_of({0, data.count}, size(), me_);
  operands_.clear();
  for (std::byte* block : blocks.first) {
    operands_.push_back(view(block + offset, data).part(own.first, own.count));
  }
  // The own array first: what is in this core's cache is written once more for each peer.
  results_ = operands_;
  std::swap(results_.front(), results_[static_cast<std::size_t>(me_)]);
  if (own.count > 0) adder_.run(operands_, results_);
  finish(impatience);
}

void SharedExchange::staged(FlatSpan piece, const Impatience& impatience) {
  ++meeting_;
  const FlatSpan out = view(stage(me_), piece);
  const auto chunk = [&](int rank) { return chunk_of({0, piece.count}, size(), rank); };
  const auto part = [&](const FlatSpan& whole, int rank) {
    return whole.part(chunk(rank).first, chunk(rank).count);
  };
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != me_) std::memcpy(part(out, peer).data, part(piece, peer).data, part(out, peer).bytes());
  }
  arrive(piece, -1, impatience);
  operands_.clear();
  for (int peer = 0; peer < size(); ++peer) {
    operands_.push_back(part(peer == me_ ? piece : view(stage(peer), piece), me_));
  }
  results_ = {part(piece, me_), part(out, me_)};
  if (chunk(me_).count > 0) adder_.run(operands_, results_);
  finish(impatience);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == me_) continue;
    const FlatSpan mine = part(piece, peer);
    std::memcpy(mine.data, part(view(stage(peer), piece), peer).data, mine.bytes());
  }
}

}  // namespace lockstep::comm
