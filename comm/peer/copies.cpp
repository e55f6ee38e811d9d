#include "comm/peer/copies.h"

#include <algorithm>

#include "comm/allreduce/schedule.h"
#include "comm/peer/kernels.h"
#include "core/cuda/cuda.h"

namespace lockstep::comm {

namespace {

constexpr std::int64_t kPackBytes = 16;
/// Room for what peers send: an array of 256 MiB at two ranks goes in one piece.
constexpr std::size_t kScratchBytes = std::size_t{128} << 20;
/// A chunk that goes both ways does so in two segments, this part of it in the second: sending it takes as
/// long as adding the first, and few copies are best, for each one's start shows.
constexpr std::int64_t kLastEighths = 3;
/// Shorter chunks go in one.
constexpr std::int64_t kLeastSegments = std::int64_t{1} << 20;

std::int64_t whole_packs(std::int64_t bytes) { return bytes / kPackBytes * kPackBytes; }

/// Part `index` of `parts` of these bytes, in whole packs but for the last part, which has what is behind
/// them. Part r of an array is what rank r adds.
Range part_of(Range bytes, int parts, int index) {
  const Range packs = chunk_of({0, bytes.count / kPackBytes}, parts, index);
  const std::int64_t skipped = packs.first * kPackBytes;
  return {bytes.first + skipped, index == parts - 1 ? bytes.count - skipped : packs.count * kPackBytes};
}

/// Of a chunk that goes in so many segments, one or two.
Range segment_of(Range chunk, int segments, int index) {
  const std::int64_t first = segments == 1 ? chunk.count : whole_packs(chunk.count * (8 - kLastEighths) / 8);
  if (index == 0) return {chunk.first, first};
  return {chunk.first + first, chunk.count - first};
}

}  // namespace

/// As much of an array as scratch memory has room for.
struct PeerCopies::Piece {
  Call call;
  Dtype dtype;
  Arrays arrays;
  std::int64_t count;

  [[nodiscard]] std::int64_t bytes() const { return count * static_cast<std::int64_t>(size_of(dtype)); }
  /// What `rank` adds, in bytes.
  [[nodiscard]] Range chunk(int rank) const { return part_of({0, bytes()}, call.ranks, rank); }
  [[nodiscard]] std::byte* at(int rank, std::int64_t byte) const {
    return static_cast<std::byte*>(arrays.of[rank]) + byte;
  }
  template <class Visit>
  void each_peer(Visit visit) const {
    for (int step = 1; step < call.ranks; ++step) visit((call.rank + step) % call.ranks);
  }
};

/// What sum_in_segments() asks for.
class PeerCopies::Segments {
 public:
  Segments(const PeerCopies& copies, const Piece& piece, int segments, cudaStream_t on)
      : copies_(copies), piece_(piece), segments_(segments), on_(on) {}

  void follow(CopyLane first, CopyLane then) { copies_.lanes_.follow(stream(first), stream(then)); }
  void send(int segment) { copies_.send(piece_, segment, segments_, stream(CopyLane::copies)); }
  void meet() { launch_meet(piece_.call, on_); }
  void add(int segment) {
    const auto width = static_cast<std::int64_t>(size_of(piece_.dtype));
    const Range bytes = own(segment);
    launch_add(piece_.call, piece_.dtype, copies_.sources(piece_), piece_.arrays.of[piece_.call.rank],
               {bytes.first / width, bytes.count / width}, copies_.sums_.blocks, on_);
  }
  void hand_back(int first, int last) {
    const std::int64_t begin = own(first).first;
    const Range end = own(last - 1);
    piece_.each_peer([&](int peer) {
      cuda::copy_on_device(piece_.at(peer, begin), piece_.at(piece_.call.rank, begin),
                           static_cast<std::size_t>(end.first + end.count - begin), stream(CopyLane::copies));
    });
  }

 private:
  [[nodiscard]] cudaStream_t stream(CopyLane lane) const { return copies_.lanes_.of(lane, on_); }
  [[nodiscard]] Range own(int segment) const {
    return segment_of(piece_.chunk(piece_.call.rank), segments_, segment);
  }

  const PeerCopies& copies_;
  const Piece& piece_;
  int segments_;
  cudaStream_t on_;
};

PeerCopies::PeerCopies(Control& control, Device device, const PeerSums& sums)
    : sums_(sums),
      scratch_(control, device, kScratchBytes),
      room_(whole_packs(static_cast<std::int64_t>(kScratchBytes) / (control.size() - 1))),
      lanes_(device) {}

std::byte* PeerCopies::scratch(int at, int from) const {
  return scratch_.blocks()[static_cast<std::size_t>(at)] + room_ * (from < at ? from : from - 1);
}

Arrays PeerCopies::sources(const Piece& piece) const {
  Arrays sources = piece.arrays;
  const int rank = piece.call.rank;
  const std::int64_t first = piece.chunk(rank).first;
  piece.each_peer([&](int peer) { sources.of[peer] = scratch(rank, peer) - first; });
  return sources;
}

void PeerCopies::send(const Piece& piece, int segment, int segments, cudaStream_t on) const {
  const int rank = piece.call.rank;
  piece.each_peer([&](int peer) {
    const Range chunk = piece.chunk(peer), part = segment_of(chunk, segments, segment);
    cuda::copy_on_device(scratch(peer, rank) + (part.first - chunk.first), piece.at(rank, part.first),
                         static_cast<std::size_t>(part.count), on);
  });
}

void PeerCopies::sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count,
                     cudaStream_t on) {
  const auto width = static_cast<std::int64_t>(size_of(dtype));
  // A chunk is at most one pack longer than its share, and the last has what is behind the packs.
  const std::int64_t most = (room_ - 2 * kPackBytes) * call.ranks / width;
  for (std::int64_t first = 0; first < count; first += most) {
    Piece piece{call, dtype, {}, std::min(most, count - first)};
    for (int rank = 0; rank < call.ranks; ++rank)
      piece.arrays.of[rank] = static_cast<std::byte*>(arrays.of[rank]) + first * width;
    sum_piece(piece, on);
  }
}

/// Ranks have read their scratch memory when the last piece's sum ended, so it may be written at once; its
/// copies are there when all ranks have come to this sum.
void PeerCopies::sum_piece(const Piece& piece, cudaStream_t on) {
  const int segments = piece.bytes() / piece.call.ranks < kLeastSegments ? 1 : 2;  // the same on every rank
  Segments lanes(*this, piece, segments, on);
  sum_in_segments(segments, lanes);
}

}  // namespace lockstep::comm
