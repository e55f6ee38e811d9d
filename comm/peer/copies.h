// The first shot by copy engines: everyone copies chunk r of its array into scratch memory of rank r. Engines
// fill the links, which loads over them do not, and leave the multiprocessors to others. Rank r then adds
// what came and writes the sum to all (launch_two_shot).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "comm/peer/board.h"
#include "comm/peer/region.h"
#include "core/dtype.h"

namespace lockstep::comm {

class PeerCopies {
 public:
  /// Collective, blocks.
  PeerCopies(Control& control, Device device);

  /// Collective, enqueues. As launch_two_shot() from the arrays themselves.
  void sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
           cudaStream_t on);

 private:
  void sum_piece(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
                 cudaStream_t on);
  /// Where `from`'s copies lie in the scratch memory of `at`.
  [[nodiscard]] std::byte* scratch(int at, int from) const;

  Region scratch_;
  std::int64_t room_;  ///< bytes of scratch memory for one peer
};

}  // namespace lockstep::comm
