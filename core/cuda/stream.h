// A CUDA stream as a Stream: work is kernels and copies enqueued on the cudaStream_t, and host tasks that the
// driver calls in stream order (they may not call CUDA). A host task that throws fails the stream as stream.h
// says; kernels already enqueued still run, on whatever data there is.
#pragma once

#include <memory>

#include "core/stream.h"
#include "core/stream_clock.h"

namespace lockstep::cuda {

[[nodiscard]] std::unique_ptr<Stream> make_cuda_stream(Device device, const StreamOptions& options);
[[nodiscard]] std::unique_ptr<StreamClock> make_cuda_stream_clock(Device device);

}  // namespace lockstep::cuda
