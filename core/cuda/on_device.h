// Tables that kernels read, made once from host vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "core/memory.h"

namespace lockstep::cuda {

/// A copy of `host` in the memory of `device`. Blocks.
template <class T>
[[nodiscard]] Memory on_device(const std::vector<T>& host, Device device) {
  Memory memory = allocate(device, host.size() * sizeof(T));
  if (!host.empty())
    copy_from_host(host.data(), memory.view(Dtype::u8, static_cast<std::int64_t>(host.size() * sizeof(T))));
  return memory;
}

}  // namespace lockstep::cuda
