// Checked calls, the calling thread's device, and what a failure means to the user.
#include <array>
#include <string>

#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::cuda {

namespace {

std::string cure_of(cudaError_t status) {
  switch (status) {
    case cudaErrorNoDevice:
      return "no GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, or set device: cpu";
    case cudaErrorInsufficientDriver:
      return "the NVIDIA driver is older than this build's CUDA: update the driver, or set device: cpu";
    case cudaErrorMemoryAllocation:
      return "use a smaller batch.microbatch, fewer ranks per GPU, or a smaller model";
    case cudaErrorInvalidDevice:
      return "the mask CUDA_VISIBLE_DEVICES shows fewer GPUs than there are ranks on this node";
    case cudaErrorNoKernelImageForDevice:
      return "this build has no code for this GPU: configure with -DCMAKE_CUDA_ARCHITECTURES for it";
    default:
      return "";
  }
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // a failed call must not be reported again by the next one
  throw Error(Fault::device, std::string(call) + ": " + cudaGetErrorString(status), cure_of(status));
}

void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

void copy_on_device(void* to, const void* from, std::size_t bytes, cudaStream_t on) {
  if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, on), "cudaMemcpyAsync");
}

void use(Device device) {
  thread_local int current = -1;
  if (device.index == current) return;
  check(cudaSetDevice(device.index), "cudaSetDevice");
  current = device.index;
}

int multiprocessors(Device device) {
  constexpr std::size_t kMost = 64;  // GPUs of a node
  static std::array<int, kMost> counts{};
  int& count = counts.at(static_cast<std::size_t>(device.index));
  if (count == 0)
    check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device.index),
          "cudaDeviceGetAttribute");
  return count;
}

}  // namespace lockstep::cuda
