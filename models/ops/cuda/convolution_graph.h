// A convolution as cuDNN's operation graph of one node, and the library's context that it needs.
#pragma once

#include <cudnn.h>

#include <memory>

#include "core/device.h"
#include "models/ops/cuda/convolution_plan.h"
#include "models/ops/cuda/cudnn_descriptor.h"

namespace lockstep::models::cuda {

/// cuDNN's context of one thread on one device.
class Handle {
 public:
  /// Throws Fault::device when cuDNN does not start.
  explicit Handle(Device device);
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { static_cast<void>(cudnnDestroy(handle_)); }
  /// Bound to `stream`. A stream that is being captured must have been bound before: cuDNN does not change
  /// streams in a capture.
  [[nodiscard]] cudnnHandle_t on(cudaStream_t stream) {
    if (stream != stream_) expect(cudnnSetStream(handle_, stream), "cudnnSetStream");
    stream_ = stream;
    return handle_;
  }
  [[nodiscard]] cudnnHandle_t get() const noexcept { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;  ///< a new handle's: the default stream
};
using HandlePtr = std::shared_ptr<Handle>;

/// The calling thread's; lives as long as a plan that uses it.
[[nodiscard]] HandlePtr handle_of(Device device);

/// Names of the tensors in a variant pack.
enum Uid : std::int64_t { kImage = 1, kWeight = 2, kResult = 3 };

/// Throws Refused for a geometry that cuDNN cannot describe.
[[nodiscard]] Descriptor graph_of(const ConvolutionRequest& request, cudnnHandle_t handle);

}  // namespace lockstep::models::cuda
