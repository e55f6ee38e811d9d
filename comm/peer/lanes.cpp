#include "comm/peer/lanes.h"

#include "core/cuda/cuda.h"

namespace lockstep::comm {

Lanes::Lanes(Device device) {
  cuda::use(device);
  for (cudaStream_t* stream : {&out_, &back_})
    cuda::check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "cudaStreamCreate");
  cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
}

Lanes::~Lanes() {
  static_cast<void>(cudaEventDestroy(event_));
  for (cudaStream_t stream : {out_, back_}) static_cast<void>(cudaStreamDestroy(stream));
}

cudaStream_t Lanes::of(CopyLane lane, cudaStream_t sums) const noexcept {
  if (lane == CopyLane::sums) return sums;
  return lane == CopyLane::out ? out_ : back_;
}

void Lanes::follow(cudaStream_t first, cudaStream_t then) const {
  cuda::check(cudaEventRecord(event_, first), "cudaEventRecord");
  cuda::check(cudaStreamWaitEvent(then, event_, 0), "cudaStreamWaitEvent");
}

}  // namespace lockstep::comm
