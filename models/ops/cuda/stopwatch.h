// Time between two points of a CUDA stream, by its events.
#pragma once

#include "core/cuda/owned.h"

namespace lockstep::models::cuda {

/// Runs from when it is made.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    lockstep::cuda::check(cudaEventRecord(begin_.get(), stream_), "cudaEventRecord");
  }
  /// Seconds until the stream has done what was enqueued since. Blocks.
  [[nodiscard]] double stop_s() {
    float milliseconds = 0;
    lockstep::cuda::check(cudaEventRecord(end_.get(), stream_), "cudaEventRecord");
    lockstep::cuda::check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
    lockstep::cuda::check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()),
                          "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaStream_t stream_;
  lockstep::cuda::OwnEvent begin_{cudaEventDefault}, end_{cudaEventDefault};
};

}  // namespace lockstep::models::cuda
