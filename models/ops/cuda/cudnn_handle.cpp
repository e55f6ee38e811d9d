#include "models/ops/cuda/cudnn_handle.h"

#include <spdlog/fmt/fmt.h>

#include <map>

#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::models::cuda {
namespace {

/// A program built against a newer cuDNN may not run on an older one.
void check_version() {
  const std::size_t here = cudnnGetVersion();
  if (here >= CUDNN_VERSION && here / 10000 == CUDNN_MAJOR) return;
  const auto text = [](std::size_t v) { return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100); };
  throw Error(Fault::device,
              fmt::format("this build needs cuDNN {} or newer of the same major version, but {} is loaded",
                          text(CUDNN_VERSION), text(here)),
              "install that cuDNN, put it first in LD_LIBRARY_PATH, or build against the one you have");
}

}  // namespace

Handle::Handle(Device device) {
  check_version();
  lockstep::cuda::use(device);
  if (const cudnnStatus_t status = cudnnCreate(&handle_); status != CUDNN_STATUS_SUCCESS)
    throw Error(Fault::device, fmt::format("cudnnCreate: {}", cudnnGetErrorString(status)),
                fmt::format("install cuDNN {}.{} or newer of major version {}", CUDNN_MAJOR, CUDNN_MINOR,
                            CUDNN_MAJOR));
}

cudnnHandle_t Handle::on(cudaStream_t stream) {
  if (stream == stream_) return handle_;
  if (const cudnnStatus_t status = cudnnSetStream(handle_, stream); status != CUDNN_STATUS_SUCCESS)
    throw Error(Fault::device, fmt::format("cudnnSetStream: {}", cudnnGetErrorString(status)));
  stream_ = stream;
  return handle_;
}

HandlePtr handle_of(Device device) {
  thread_local std::map<int, std::weak_ptr<Handle>> handles;
  auto& known = handles[device.index];
  HandlePtr handle = known.lock();
  if (handle == nullptr) known = handle = std::make_shared<Handle>(device);
  return handle;
}

}  // namespace lockstep::models::cuda
