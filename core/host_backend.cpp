// The host as a backend: worker threads, aligned memory, and the vector kernels of core/vector/cpu.
#include <cstdlib>
#include <cstring>

#include "core/backends.h"
#include "core/error.h"
#include "core/host_stream.h"
#include "core/vector/cpu/cpu_kernels.h"

namespace lockstep {

namespace {

constexpr std::size_t kAlignment = 256;  // bytes; at least a cache line, and what CUDA's allocators give

Memory allocate_host(Device device, std::size_t bytes) {
  const std::size_t whole =
      (bytes / kAlignment + 1) * kAlignment;  // never 0, so that data() is a valid address
  void* data = whole > bytes ? std::aligned_alloc(kAlignment, whole) : nullptr;
  if (data == nullptr) {
    throw Error(Fault::device, "no room for " + bytes_text(bytes) + " of host memory",
                "use a smaller microbatch or model, or fewer ranks per node");
  }
  std::memset(data, 0, whole);
  return Memory(data, bytes, device, [](void* block) { std::free(block); });
}

void copy_host(Device /*device*/, const void* from, void* to, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

}  // namespace

const Backend host_backend = {
    .kind = DeviceKind::cpu,
    .name = "cpu",
    .make_stream = make_host_stream,
    .allocate = allocate_host,
    .copy_to_host = copy_host,
    .copy_from_host = copy_host,
    .kernels = &vector::cpu_kernels,
};

}  // namespace lockstep
