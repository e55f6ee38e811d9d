// How `peer` sums where GPUs map each other's memory; what runs there is in comm/peer.
#pragma once

#include <cstdint>

namespace lockstep::comm {

struct PeerSums {
  std::int64_t copies_from = 0;  ///< elements of the shortest array that copy engines move
  int blocks = 0;                ///< thread blocks of a kernel in two shots
};

}  // namespace lockstep::comm
