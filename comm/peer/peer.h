// Sums over GPUs of one node by memory that they map from each other: stores and loads over NVLink instead of
// messages. No multicast.
#pragma once

#include <memory>

#include "comm/allreduce/peer.h"
#include "comm/device_transport.h"

namespace lockstep::comm {

/// Collective, blocks. Messages go by `messages`; shared_sum() and shared_memory() are its own. Throws
/// Fault::device on all ranks when they cannot map each other's memory, and Fault::config when they are more
/// than 8 or not all of one node.
[[nodiscard]] std::unique_ptr<Transport> make_peer_transport(std::unique_ptr<Transport> messages,
                                                             const PeerSums& sums, World& world,
                                                             const TransportSite& site);

}  // namespace lockstep::comm
