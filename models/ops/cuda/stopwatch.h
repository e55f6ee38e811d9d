// Time between two points of a CUDA stream, by its events.
#pragma once

#include "core/cuda/cuda.h"

namespace lockstep::models::cuda {

/// Runs from when it is made.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    lockstep::cuda::check(cudaEventCreate(&begin_), "cudaEventCreate");
    lockstep::cuda::check(cudaEventCreate(&end_), "cudaEventCreate");
    lockstep::cuda::check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }
  /// Seconds until the stream has done what was enqueued since. Blocks.
  [[nodiscard]] double stop_s() {
    float milliseconds = 0;
    lockstep::cuda::check(cudaEventRecord(end_, stream_), "cudaEventRecord");
    lockstep::cuda::check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    lockstep::cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace lockstep::models::cuda
