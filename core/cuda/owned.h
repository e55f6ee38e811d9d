// CUDA's streams and events that go with their owner, for code that wants no more of them (core/stream.h has
// failures, clocks and host tasks).
#pragma once

#include "core/cuda/cuda.h"

namespace lockstep::cuda {

class OwnStream {
 public:
  /// Of work that waits for no other stream.
  explicit OwnStream(Device device) {
    use(device);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream() { static_cast<void>(cudaStreamDestroy(stream_)); }
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Of the calling thread's device.
class OwnEvent {
 public:
  explicit OwnEvent(unsigned flags) { check(cudaEventCreateWithFlags(&event_, flags), "cudaEventCreate"); }
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
  ~OwnEvent() { static_cast<void>(cudaEventDestroy(event_)); }
  [[nodiscard]] cudaEvent_t get() const noexcept { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace lockstep::cuda
