// Sums whose shots copy engines make: everyone copies chunk r of its array into scratch memory of rank r,
// which adds what came and copies the sums into everyone's array. Engines fill the links, which loads and
// stores over them do not, and leave the multiprocessors to others.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "comm/allreduce/peer.h"
#include "comm/peer/board.h"
#include "comm/peer/lanes.h"
#include "comm/peer/region.h"
#include "core/dtype.h"

namespace lockstep::comm {

class PeerCopies {
 public:
  /// Collective, blocks.
  PeerCopies(Control& control, Device device, const PeerSums& sums);

  /// Collective, enqueues. As launch_two_shot() from the arrays themselves.
  void sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, cudaStream_t on);

 private:
  struct Piece;
  class Segments;
  void send(const Piece& piece, int segment, int segments, cudaStream_t on) const;
  void sum_piece(const Piece& piece, cudaStream_t on);
  /// Where rank r's chunk of everyone's array is found: the own one, and copies of the others'.
  [[nodiscard]] Arrays sources(const Piece& piece) const;
  /// Where `from`'s copies lie in the scratch memory of `at`.
  [[nodiscard]] std::byte* scratch(int at, int from) const;

  PeerSums sums_;
  Region scratch_;
  std::int64_t room_;  ///< bytes of scratch memory for one peer
  Lanes lanes_;
};

}  // namespace lockstep::comm
