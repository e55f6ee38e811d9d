// A block of GPU memory of the same size on every rank, mapped by all ranks of the node (CUDA IPC).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "comm/collectives.h"
#include "core/memory.h"

namespace lockstep::comm {

class Region {
 public:
  /// Collective, blocks. Zeroed memory of `bytes`, the same on every rank. Throws Fault::device on all ranks
  /// when one of them has no room or cannot map another's memory, naming it.
  Region(Control& control, Device device, std::size_t bytes);
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  /// The driver keeps the memory until the last rank has let it go.
  ~Region();

  [[nodiscard]] std::byte* own() const noexcept { return own_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// Every rank's block as this GPU sees it, by rank.
  [[nodiscard]] std::span<std::byte* const> blocks() const noexcept { return blocks_; }
  [[nodiscard]] bool contains(const void* data, std::size_t bytes) const noexcept;

 private:
  void map(const std::vector<std::string>& handles);
  void release() noexcept;

  Device device_;
  int rank_;
  std::size_t bytes_;
  std::byte* own_ = nullptr;
  std::vector<std::byte*> blocks_;
};

}  // namespace lockstep::comm
