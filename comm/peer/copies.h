// Two shots by copy engines: chunks of peers come into scratch memory, a kernel of this GPU adds them, the
// sums go out; segment after segment, so that copies in, sums and copies out overlap. Only the sums, which
// run at the speed of local memory, need multiprocessors.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "comm/peer/board.h"
#include "core/flat_span.h"
#include "core/memory.h"

namespace lockstep::comm {

class PeerCopies {
 public:
  PeerCopies(Device device, int ranks, std::int64_t segment_bytes, int blocks);
  PeerCopies(const PeerCopies&) = delete;
  PeerCopies& operator=(const PeerCopies&) = delete;
  ~PeerCopies();

  /// Collective, enqueues. As launch_two_shot().
  void sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, cudaStream_t on);

 private:
  static constexpr int kSlots = 4;  // segments on their way: in, waiting, being added, out

  void pull(const Call& call, const Arrays& arrays, std::size_t at, std::size_t bytes, int slot);
  void push(const Call& call, const Arrays& arrays, std::size_t at, std::size_t bytes);
  [[nodiscard]] std::byte* scratch(int slot, int rank) const;

  Device device_;
  std::size_t segment_bytes_;
  int ranks_, blocks_;
  Memory scratch_;
  cudaStream_t in_ = nullptr, out_ = nullptr;
  cudaEvent_t begun_ = nullptr, pushed_ = nullptr;
  std::array<cudaEvent_t, kSlots> pulled_{}, added_{};
};

}  // namespace lockstep::comm
