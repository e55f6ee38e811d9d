// Two shots by copy engines. Everyone copies chunk r of its array into scratch memory of rank r, segment
// after segment; rank r adds each segment once it has come from all, and copies the sum to all. Links carry
// copies out all the time, first of arrays, then of sums. Only the sums, which run at the speed of local
// memory, and flags need multiprocessors.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "comm/peer/board.h"
#include "comm/peer/region.h"
#include "core/flat_span.h"

namespace lockstep::comm {

class PeerCopies {
 public:
  /// Collective, blocks.
  PeerCopies(Control& control, Device device, std::int64_t segment_bytes, int blocks);
  PeerCopies(const PeerCopies&) = delete;
  PeerCopies& operator=(const PeerCopies&) = delete;
  ~PeerCopies();

  /// Collective, enqueues. As launch_two_shot().
  void sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, cudaStream_t on);

 private:
  struct Lane {
    cudaStream_t copies = nullptr, tells = nullptr;
    cudaEvent_t copied = nullptr, added = nullptr, told = nullptr;
  };
  struct Piece;  // of an array, as long as scratch memory holds

  void sum_piece(const Call& call, const Piece& piece, cudaStream_t on);
  void send_arrays(const Call& call, const Piece& piece);
  void send_sums(const Call& call, const Piece& piece, cudaStream_t on);
  [[nodiscard]] Lane& lane(std::int64_t segment) {
    return lanes_[static_cast<std::size_t>(segment % kLanes)];
  }
  /// Where `from`'s copies lie in the scratch memory of `at`.
  [[nodiscard]] std::byte* scratch(int at, int from) const;

  std::int64_t segment_bytes_;
  int blocks_;
  Region scratch_;
  std::int64_t room_;  // bytes of scratch memory for one peer
  cudaEvent_t begun_ = nullptr;
  std::array<Lane, kLanes> lanes_;
};

}  // namespace lockstep::comm
