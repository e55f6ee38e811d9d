// A stream for copies beside the caller's, and an event to make them wait for each other.
#pragma once

#include "comm/peer/segments.h"
#include "core/cuda/owned.h"

namespace lockstep::comm {

class Lanes {
 public:
  explicit Lanes(Device device) : copies_(device), event_(cudaEventDisableTiming) {}

  /// The lane's stream, where `sums` is the caller's.
  [[nodiscard]] cudaStream_t of(CopyLane lane, cudaStream_t sums) const noexcept;
  /// What comes on `then` waits for all that is on `first`; both are captured if `first` is.
  void follow(cudaStream_t first, cudaStream_t then) const;

 private:
  cuda::OwnStream copies_;
  cuda::OwnEvent event_;
};

}  // namespace lockstep::comm
