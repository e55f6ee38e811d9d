// Streams beside the caller's, and one event to make them wait for each other.
#pragma once

#include <cuda_runtime_api.h>

#include "comm/peer/segments.h"
#include "core/device.h"

namespace lockstep::comm {

class Lanes {
 public:
  explicit Lanes(Device device);
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;
  ~Lanes();

  /// The lane's stream, where `sums` is the caller's.
  [[nodiscard]] cudaStream_t of(CopyLane lane, cudaStream_t sums) const noexcept;
  /// What comes on `then` waits for all that is on `first`; both are captured if `first` is.
  void follow(cudaStream_t first, cudaStream_t then) const;

 private:
  cudaStream_t out_ = nullptr, back_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

}  // namespace lockstep::comm
