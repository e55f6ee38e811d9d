#include "comm/peer/copies.h"

#include <algorithm>

#include "comm/allreduce/schedule.h"
#include "comm/peer/kernels.h"
#include "core/cuda/cuda.h"

namespace lockstep::comm {

namespace {

constexpr std::int64_t kPackBytes = 16;

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
void copy(void* to, const void* from, std::size_t bytes, cudaStream_t on) {
  cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, on), "cudaMemcpyAsync");
}
std::byte* at_byte(const Arrays& arrays, int rank, std::size_t at) {
  return static_cast<std::byte*>(arrays.of[rank]) + at;
}

}  // namespace

PeerCopies::PeerCopies(Device device, int ranks, std::int64_t segment_bytes, int blocks)
    : device_(device),
      segment_bytes_(static_cast<std::size_t>(segment_bytes / kPackBytes * kPackBytes)),
      ranks_(ranks),
      blocks_(blocks),
      scratch_(allocate(device, segment_bytes_ * static_cast<std::size_t>(kSlots * ranks))) {
  in_ = new_stream();
  out_ = new_stream();
  begun_ = new_event();
  pushed_ = new_event();
  for (cudaEvent_t& event : pulled_) event = new_event();
  for (cudaEvent_t& event : added_) event = new_event();
}

PeerCopies::~PeerCopies() {
  for (const cudaStream_t stream : {in_, out_}) {
    static_cast<void>(cudaStreamSynchronize(stream));
    static_cast<void>(cudaStreamDestroy(stream));
  }
  for (const cudaEvent_t event : {begun_, pushed_}) static_cast<void>(cudaEventDestroy(event));
  for (const cudaEvent_t event : pulled_) static_cast<void>(cudaEventDestroy(event));
  for (const cudaEvent_t event : added_) static_cast<void>(cudaEventDestroy(event));
}

std::byte* PeerCopies::scratch(int slot, int rank) const {
  return static_cast<std::byte*>(scratch_.data()) +
         segment_bytes_ * static_cast<std::size_t>(slot * ranks_ + rank);
}

void PeerCopies::pull(const Call& call, const Arrays& arrays, std::size_t at, std::size_t bytes, int slot) {
  for (int step = 1; step < call.ranks; ++step) {
    const int peer = (call.rank + step) % call.ranks;
    copy(scratch(slot, peer), at_byte(arrays, peer, at), bytes, in_);
  }
}

void PeerCopies::push(const Call& call, const Arrays& arrays, std::size_t at, std::size_t bytes) {
  for (int step = 1; step < call.ranks; ++step) {
    const int peer = (call.rank + step) % call.ranks;
    copy(at_byte(arrays, peer, at), at_byte(arrays, call.rank, at), bytes, out_);
  }
}

void PeerCopies::sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count,
                     cudaStream_t on) {
  const auto width = static_cast<std::int64_t>(size_of(dtype));
  // Chunks of whole packs; the last rank's has what is left over.
  const Range packs = chunk_of({0, count * width / kPackBytes}, call.ranks, call.rank);
  const auto begin = static_cast<std::size_t>(packs.first * kPackBytes);
  const auto end = static_cast<std::size_t>(
      call.rank == call.ranks - 1 ? count * width : (packs.first + packs.count) * kPackBytes);
  launch_begin(call, on);
  follow(in_, on, begun_);
  follow(out_, on, begun_);
  int segment = 0;
  for (std::size_t at = begin; at < end; at += segment_bytes_, ++segment) {
    const std::size_t bytes = std::min(segment_bytes_, end - at);
    const int slot = segment % kSlots;
    if (segment >= kSlots)
      cuda::check(cudaStreamWaitEvent(in_, added_[static_cast<std::size_t>(slot)], 0), "cudaStreamWaitEvent");
    pull(call, arrays, at, bytes, slot);
    follow(on, in_, pulled_[static_cast<std::size_t>(slot)]);
    Arrays here{};
    for (int rank = 0; rank < call.ranks; ++rank)
      here.of[rank] = rank == call.rank ? at_byte(arrays, rank, at) : scratch(slot, rank);
    launch_local_sum(call, dtype, here, static_cast<std::int64_t>(bytes) / width, blocks_, on);
    follow(out_, on, added_[static_cast<std::size_t>(slot)]);
    push(call, arrays, at, bytes);
  }
  follow(on, in_, begun_);
  follow(on, out_, pushed_);
  launch_end(call, on);
}

}  // namespace lockstep::comm
