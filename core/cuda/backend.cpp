// CUDA as a backend: streams, device memory, blocking copies and the vector kernels of core/vector/cuda.
#include "core/backends.h"

#include <cstring>
#include <string>

#include "core/cuda/cuda.h"
#include "core/cuda/recording.h"
#include "core/cuda/stream.h"
#include "core/cuda/visible.h"
#include "core/error.h"
#include "core/vector/cuda/cuda_kernels.h"

namespace lockstep {

namespace {

constexpr std::size_t kAlignment = 256;  // bytes; cudaMalloc's own

Memory allocate_on_gpu(Device device, std::size_t bytes) {
  cuda::use(device);
  const std::size_t whole =
      (bytes / kAlignment + 1) * kAlignment;  // never 0, so that data() is a valid address
  void* data = nullptr;
  if (const cudaError_t status = cudaMalloc(&data, whole); status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    std::size_t free = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&free, &total));
    throw Error(
        Fault::device,
        "no room for " + bytes_text(bytes) + " on " + name_of(device) + ": " + bytes_text(free) + " of " +
            bytes_text(total) + " are free",
        "use a smaller batch.microbatch, a smaller model, or a GPU that nobody else uses (nvidia-smi)");
  } else {
    cuda::check(status, "cudaMalloc");
  }
  cuda::check(cudaMemset(data, 0, whole), "cudaMemset");
  cuda::check(cudaDeviceSynchronize(), "cudaMemset");  // before any stream touches it
  return Memory(data, bytes, device, [device](void* block) {
    cuda::use(device);
    static_cast<void>(cudaFree(block));
  });
}

void copy_out(Device device, const void* from, void* to, std::size_t bytes) {
  if (bytes == 0) return;
  cuda::use(device);
  cuda::check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy to the host");
}

void copy_in(Device device, const void* from, void* to, std::size_t bytes) {
  if (bytes == 0) return;
  cuda::use(device);
  cuda::check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy to the GPU");
  cuda::check(cudaDeviceSynchronize(), "cudaMemcpy to the GPU");
}

void enqueue_copy(const void* from, void* to, std::size_t bytes, Stream& stream) {
  if (bytes > 0)
    cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda::native(stream)), "cudaMemcpyAsync");
}

}  // namespace

const Backend cuda_backend = {
    .kind = DeviceKind::cuda,
    .name = "cuda",
    .make_stream = cuda::make_cuda_stream,
    .make_stream_clock = cuda::make_cuda_stream_clock,
    .allocate = allocate_on_gpu,
    .allocate_staging =
        [](Device device, std::size_t bytes) {
          cuda::use(device);
          return cuda::allocate_pinned(bytes);
        },
    .copy_to_host = copy_out,
    .copy_from_host = copy_in,
    .copy = enqueue_copy,
    .enter = cuda::use,
    .kernels = &vector::cuda_kernels,
    .visible = cuda::visible_devices,
    .identity = cuda::identity_of,
    .model = cuda::model_of,
    .versions = cuda::versions,
    .record = cuda::record,
};

Memory cuda::allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  check(cudaHostAlloc(&data, bytes + 1, cudaHostAllocPortable), "cudaHostAlloc");
  std::memset(data, 0, bytes);
  return Memory(data, bytes, Device{}, [](void* block) { static_cast<void>(cudaFreeHost(block)); });
}

}  // namespace lockstep
