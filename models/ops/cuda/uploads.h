// Copies from the host on a stream of their own, so that the next microbatch travels while the last one is
// computed: two blocks per tensor take turns.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <map>
#include <memory>

#include "core/memory.h"

namespace lockstep::models::cuda {

class Uploads {
 public:
  explicit Uploads(Device device);
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;
  ~Uploads();

  /// Enqueues the copy of `bytes` from `host` (best page-locked) and makes `on` wait for it; returns the
  /// dense copy on the GPU. `tensor` tells tensors apart. Call release() once the copy's readers are on `on`.
  [[nodiscard]] const void* copy(const void* tensor, const void* host, std::size_t bytes, cudaStream_t on);
  void release(const void* tensor, cudaStream_t on);

 private:
  struct Block;
  struct Ring;
  Device device_;
  cudaStream_t stream_ = nullptr;
  std::map<const void*, std::unique_ptr<Ring>> rings_;
};

}  // namespace lockstep::models::cuda
