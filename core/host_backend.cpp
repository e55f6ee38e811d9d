// The host as a backend: worker threads, aligned memory, and the vector kernels of core/vector/cpu.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "core/backends.h"
#include "core/error.h"
#include "core/host_stream.h"
#include "core/vector/cpu/cpu_kernels.h"

namespace lockstep {

namespace {

constexpr std::size_t kAlignment = 256;  // bytes; at least a cache line, and what CUDA's allocators give
constexpr std::size_t kHugePage = std::size_t{2} << 20;  // bytes; of x86-64 and most 64-bit ARM

Memory allocate_host(Device device, std::size_t bytes) {
  const std::size_t alignment = bytes < kHugePage ? kAlignment : kHugePage;
  const std::size_t whole =
      (bytes / alignment + 1) * alignment;  // never 0, so that data() is a valid address
  void* data = whole > bytes ? std::aligned_alloc(alignment, whole) : nullptr;
  if (data == nullptr) {
    throw Error(Fault::device, "no room for " + bytes_text(bytes) + " of host memory",
                "use a smaller microbatch or model, or fewer ranks per node");
  }
  // Activations and gradients are walked from end to end every step: fewer, larger pages. A refusal costs
  // only speed.
  if (alignment == kHugePage) madvise(data, whole, MADV_HUGEPAGE);
  std::memset(data, 0, whole);
  return Memory(data, bytes, device, [](void* block) { std::free(block); });
}

void copy_host(Device /*device*/, const void* from, void* to, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void enqueue_copy(const void* from, void* to, std::size_t bytes, Stream& stream) {
  if (bytes > 0) stream.host([=] { std::memcpy(to, from, bytes); });
}

}  // namespace

const Backend host_backend = {
    .kind = DeviceKind::cpu,
    .name = "cpu",
    .make_stream = make_host_stream,
    .make_stream_clock = make_host_stream_clock,
    .allocate = allocate_host,
    .allocate_staging = allocate_host,
    .copy_to_host = copy_host,
    .copy_from_host = copy_host,
    .copy = enqueue_copy,
    .enter = [](Device /*device*/) {},
    .kernels = &vector::cpu_kernels,
    .visible = [](std::string& /*why*/) { return 1; },
    .identity = [](Device /*device*/) { return std::string("cpu"); },
    .model = [](Device /*device*/) { return std::string("cpu"); },
    .versions = [] { return std::string(); },
    .record = nullptr,
};

}  // namespace lockstep
