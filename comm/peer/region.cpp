#include "comm/peer/region.h"

#include <spdlog/fmt/fmt.h>

#include <cstring>
#include <functional>
#include <string>

#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::comm {

namespace {

/// What is exported is a whole allocation of the driver, and smaller ones share one.
constexpr std::size_t kGranularity = std::size_t{2} << 20;

std::size_t whole_allocation(std::size_t bytes) { return (bytes / kGranularity + 1) * kGranularity; }

/// Runs `work` on every rank; when it throws on some, all throw what the first of them said.
void together(Control& control, const std::function<void()>& work) {
  std::string trouble;
  try {
    work();
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  const std::vector<std::string> all = control.gather(trouble);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].empty()) continue;
    throw Error(Fault::device,
                fmt::format("GPU memory cannot be shared between ranks: rank {}: {}", rank, all[rank]),
                "'allreduce.name: peer' needs ranks of one node whose GPUs reach each other (nvidia-smi topo "
                "-p2p r) and are visible to all of them; choose allreduce.name: library");
  }
}

}  // namespace

Region::Region(Control& control, Device device, std::size_t bytes)
    : device_(device),
      rank_(control.rank()),
      bytes_(bytes),
      blocks_(static_cast<std::size_t>(control.size()), nullptr) {
  try {
    std::string handle(sizeof(cudaIpcMemHandle_t), '\0');
    together(control, [&] {
      cuda::use(device_);
      void* data = nullptr;
      cuda::check(cudaMalloc(&data, whole_allocation(bytes)), "cudaMalloc of memory for peers");
      own_ = static_cast<std::byte*>(data);
      cuda::check(cudaMemset(data, 0, whole_allocation(bytes)), "cudaMemset");
      cuda::check(cudaDeviceSynchronize(), "cudaMemset");
      cudaIpcMemHandle_t exported;
      cuda::check(cudaIpcGetMemHandle(&exported, data), "cudaIpcGetMemHandle");
      std::memcpy(handle.data(), &exported, sizeof exported);
    });
    const std::vector<std::string> handles = control.gather(handle);
    together(control, [&] { map(handles); });
  } catch (...) {
    release();
    throw;
  }
}

Region::~Region() { release(); }

void Region::map(const std::vector<std::string>& handles) {
  for (std::size_t rank = 0; rank < blocks_.size(); ++rank) {
    if (rank == static_cast<std::size_t>(rank_)) {
      blocks_[rank] = own_;
      continue;
    }
    cudaIpcMemHandle_t handle;
    std::memcpy(&handle, handles[rank].data(), sizeof handle);
    void* mapped = nullptr;
    cuda::check(cudaIpcOpenMemHandle(&mapped, handle, cudaIpcMemLazyEnablePeerAccess),
                "cudaIpcOpenMemHandle");
    blocks_[rank] = static_cast<std::byte*>(mapped);
  }
}

void Region::release() noexcept {
  try {
    cuda::use(device_);
  } catch (const Error&) {
    return;  // the device is gone, and its memory with it
  }
  for (std::byte* block : blocks_) {
    if (block != nullptr && block != own_) static_cast<void>(cudaIpcCloseMemHandle(block));
  }
  if (own_ != nullptr) static_cast<void>(cudaFree(own_));
}

bool Region::contains(const void* data, std::size_t bytes) const noexcept {
  const auto* first = static_cast<const std::byte*>(data);
  return first >= own_ && first + bytes <= own_ + bytes_;
}

}  // namespace lockstep::comm
