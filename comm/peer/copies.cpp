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

std::int64_t whole_packs(std::int64_t bytes) { return bytes / kPackBytes * kPackBytes; }

/// Bytes of an array that `rank` adds.
Range chunk_bytes(std::int64_t bytes, int ranks, int rank) {
  const Range packs = chunk_of({0, bytes / kPackBytes}, ranks, rank);
  const std::int64_t first = packs.first * kPackBytes;
  return {first, rank == ranks - 1 ? bytes - first : packs.count * kPackBytes};
}

}  // namespace

PeerCopies::PeerCopies(Control& control, Device device)
    : scratch_(control, device, kScratchBytes),
      room_(whole_packs(static_cast<std::int64_t>(kScratchBytes) / (control.size() - 1))) {}

std::byte* PeerCopies::scratch(int at, int from) const {
  return scratch_.blocks()[static_cast<std::size_t>(at)] + room_ * (from < at ? from : from - 1);
}

void PeerCopies::sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
                     cudaStream_t on) {
  const auto width = static_cast<std::int64_t>(size_of(dtype));
  // A chunk is at most one pack longer than its share, and the last has what is behind the packs.
  const std::int64_t most = (room_ - 2 * kPackBytes) * call.ranks / width;
  for (std::int64_t first = 0; first < count; first += most) {
    Arrays piece{};
    for (int rank = 0; rank < call.ranks; ++rank)
      piece.of[rank] = static_cast<std::byte*>(arrays.of[rank]) + first * width;
    sum_piece(call, dtype, piece, std::min(most, count - first), blocks, on);
  }
}

/// Ranks have read their scratch memory when the last piece's sum ended, so it may be written at once; its
/// copies are there when all ranks have come to this sum.
void PeerCopies::sum_piece(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count,
                           int blocks, cudaStream_t on) {
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(dtype));
  for (int step = 1; step < call.ranks; ++step) {
    const int peer = (call.rank + step) % call.ranks;
    const Range chunk = chunk_bytes(bytes, call.ranks, peer);
    if (chunk.count == 0) continue;
    cuda::check(
        cudaMemcpyAsync(scratch(peer, call.rank), static_cast<std::byte*>(arrays.of[call.rank]) + chunk.first,
                        static_cast<std::size_t>(chunk.count), cudaMemcpyDeviceToDevice, on),
        "cudaMemcpyAsync");
  }
  Arrays sources = arrays;
  const std::int64_t first = chunk_bytes(bytes, call.ranks, call.rank).first;
  for (int rank = 0; rank < call.ranks; ++rank) {
    if (rank != call.rank) sources.of[rank] = scratch(call.rank, rank) - first;
  }
  launch_two_shot(call, dtype, sources, arrays, count, blocks, on);
}

}  // namespace lockstep::comm
