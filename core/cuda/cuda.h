// What code that speaks CUDA needs of core/: checked calls, the native stream behind a Stream, pinned host
// memory. Include it from CUDA folders only.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "core/memory.h"
#include "core/stream.h"

namespace lockstep::cuda {

/// Throws Fault::device naming `call`, the error and, where there is one, the cure.
void check(cudaError_t status, const char* call);
/// After a kernel launch: throws what the launch itself refused.
void check_launch(const char* kernel);

/// Makes `device` the calling thread's device. Cheap when it already is.
void use(Device device);
/// The cudaStream_t behind a Stream on a GPU; makes its device the calling thread's. Throws Fault::internal
/// for a host stream.
[[nodiscard]] cudaStream_t native(Stream& stream);
/// Enqueues a copy between two places that GPUs reach; nothing when there are no bytes.
void copy_on_device(void* to, const void* from, std::size_t bytes, cudaStream_t on);
/// kScratchBytes of zeroed device memory that belong to the stream, for reductions. What uses them leaves
/// them zero.
[[nodiscard]] void* scratch(Stream& stream);
inline constexpr std::size_t kScratchBytes = 64 << 10;
/// Multiprocessors of the device, asked once.
[[nodiscard]] int multiprocessors(Device device);

/// Zeroed page-locked host memory (its Memory::device() is the host): copies to and from a GPU run
/// asynchronously.
[[nodiscard]] Memory allocate_pinned(std::size_t bytes);

}  // namespace lockstep::cuda
