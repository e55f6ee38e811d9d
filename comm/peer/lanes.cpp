#include "comm/peer/lanes.h"

namespace lockstep::comm {

cudaStream_t Lanes::of(CopyLane lane, cudaStream_t sums) const noexcept {
  return lane == CopyLane::sums ? sums : copies_.get();
}

void Lanes::follow(cudaStream_t first, cudaStream_t then) const {
  cuda::check(cudaEventRecord(event_.get(), first), "cudaEventRecord");
  cuda::check(cudaStreamWaitEvent(then, event_.get(), 0), "cudaStreamWaitEvent");
}

}  // namespace lockstep::comm
