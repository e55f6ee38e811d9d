// cuDNN's context, which convolutions and attention of a thread share.
#pragma once

#include <cudnn.h>

#include <memory>

#include "core/device.h"

namespace lockstep::models::cuda {

/// cuDNN's context of one thread on one device.
class Handle {
 public:
  /// Throws Fault::device when cuDNN does not start or is older than the one of the build.
  explicit Handle(Device device);
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { static_cast<void>(cudnnDestroy(handle_)); }
  /// Bound to `stream`. A stream that is being captured must have been bound before: cuDNN does not change
  /// streams in a capture.
  [[nodiscard]] cudnnHandle_t on(cudaStream_t stream);
  [[nodiscard]] cudnnHandle_t get() const noexcept { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;  ///< a new handle's: the default stream
};
using HandlePtr = std::shared_ptr<Handle>;

/// The calling thread's; lives as long as a plan that uses it.
[[nodiscard]] HandlePtr handle_of(Device device);

}  // namespace lockstep::models::cuda
