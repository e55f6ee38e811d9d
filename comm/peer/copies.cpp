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
/// A chunk is cut into at least so many segments, or nothing overlaps.
constexpr std::int64_t kLeastSegments = 4;

std::int64_t whole_packs(std::int64_t bytes) { return bytes / kPackBytes * kPackBytes; }

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  return stream;
}
cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  cuda::check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  return event;
}
/// `later` goes on when `earlier` has come here.
void follow(cudaStream_t later, cudaStream_t earlier, cudaEvent_t event) {
  cuda::check(cudaEventRecord(event, earlier), "cudaEventRecord");
  cuda::check(cudaStreamWaitEvent(later, event, 0), "cudaStreamWaitEvent");
}
void copy(void* to, const void* from, std::int64_t bytes, cudaStream_t on) {
  if (bytes == 0) return;
  cuda::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, on),
              "cudaMemcpyAsync");
}

}  // namespace

/// An array cut into a chunk a rank and segments of `segment` bytes; all in bytes.
struct PeerCopies::Piece {
  Arrays arrays;
  Dtype dtype;
  std::int64_t bytes;
  int ranks;
  std::int64_t segment = 0, segments = 0;  // of the longest chunk

  /// Whole packs; the last rank's chunk has what is left over.
  [[nodiscard]] Range chunk(int rank) const {
    const Range packs = chunk_of({0, bytes / kPackBytes}, ranks, rank);
    const std::int64_t first = packs.first * kPackBytes;
    return {first, rank == ranks - 1 ? bytes - first : packs.count * kPackBytes};
  }
  void cut(std::int64_t segment_bytes) {
    const std::int64_t longest = std::max(chunk(0).count, chunk(ranks - 1).count);
    segment = std::max(kPackBytes, whole_packs(std::min(segment_bytes, longest / kLeastSegments)));
    segments = (longest + segment - 1) / segment;
  }
  /// Bytes of the array; empty where this chunk is shorter than the longest.
  [[nodiscard]] Range part(int rank, std::int64_t index) const {
    const Range whole = chunk(rank);
    const std::int64_t first = std::min(whole.count, index * segment);
    return {whole.first + first, std::min(segment, whole.count - first)};
  }
  [[nodiscard]] std::byte* at(int rank, std::int64_t byte) const {
    return static_cast<std::byte*>(arrays.of[rank]) + byte;
  }
};

PeerCopies::PeerCopies(Control& control, Device device, std::int64_t segment_bytes, int blocks)
    : segment_bytes_(segment_bytes),
      blocks_(blocks),
      scratch_(control, device, kScratchBytes),
      room_(whole_packs(static_cast<std::int64_t>(kScratchBytes) / (control.size() - 1))) {
  begun_ = new_event();
  for (Lane& each : lanes_) each = {new_stream(), new_stream(), new_event(), new_event(), new_event()};
}

PeerCopies::~PeerCopies() {
  for (const Lane& each : lanes_) {
    for (const cudaStream_t stream : {each.copies, each.tells}) {
      static_cast<void>(cudaStreamSynchronize(stream));
      static_cast<void>(cudaStreamDestroy(stream));
    }
    for (const cudaEvent_t event : {each.copied, each.added, each.told})
      static_cast<void>(cudaEventDestroy(event));
  }
  static_cast<void>(cudaEventDestroy(begun_));
}

std::byte* PeerCopies::scratch(int at, int from) const {
  return scratch_.blocks()[static_cast<std::size_t>(at)] + room_ * (from < at ? from : from - 1);
}

void PeerCopies::sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count,
                     cudaStream_t on) {
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t most = (room_ - kPackBytes) * call.ranks;
  for (std::int64_t first = 0; first < bytes; first += most) {
    Piece piece{.arrays = {}, .dtype = dtype, .bytes = std::min(most, bytes - first), .ranks = call.ranks};
    for (int rank = 0; rank < call.ranks; ++rank)
      piece.arrays.of[rank] = static_cast<std::byte*>(arrays.of[rank]) + first;
    piece.cut(segment_bytes_);
    sum_piece(call, piece, on);
  }
}

void PeerCopies::sum_piece(const Call& call, const Piece& piece, cudaStream_t on) {
  launch_begin(call, on);
  for (const Lane& each : lanes_) {
    follow(each.copies, on, begun_);
    follow(each.tells, on, begun_);
  }
  send_arrays(call, piece);
  send_sums(call, piece, on);
  for (const Lane& each : lanes_) {
    follow(on, each.copies, each.copied);
    follow(on, each.tells, each.told);
  }
  launch_end(call, on);
}

void PeerCopies::send_arrays(const Call& call, const Piece& piece) {
  for (std::int64_t index = 0; index < piece.segments; ++index) {
    const Lane& by = lane(index);
    for (int step = 1; step < call.ranks; ++step) {
      const int peer = (call.rank + step) % call.ranks;
      const Range part = piece.part(peer, index);
      copy(scratch(peer, call.rank) + index * piece.segment, piece.at(call.rank, part.first), part.count,
           by.copies);
    }
    follow(by.tells, by.copies, by.copied);
    launch_tell(call, static_cast<int>(index % kLanes), by.tells);
  }
}

void PeerCopies::send_sums(const Call& call, const Piece& piece, cudaStream_t on) {
  const auto width = static_cast<std::int64_t>(size_of(piece.dtype));
  for (std::int64_t index = 0; index < piece.segments; ++index) {
    const Lane& by = lane(index);
    const Range part = piece.part(call.rank, index);
    launch_take(call, static_cast<int>(index % kLanes), on);
    Arrays here{};
    for (int rank = 0; rank < call.ranks; ++rank)
      here.of[rank] =
          rank == call.rank ? piece.at(rank, part.first) : scratch(call.rank, rank) + index * piece.segment;
    if (part.count > 0) launch_local_sum(call, piece.dtype, here, part.count / width, blocks_, on);
    follow(by.copies, on, by.added);
    for (int step = 1; step < call.ranks; ++step) {
      const int peer = (call.rank + step) % call.ranks;
      copy(piece.at(peer, part.first), piece.at(call.rank, part.first), part.count, by.copies);
    }
  }
}

}  // namespace lockstep::comm
