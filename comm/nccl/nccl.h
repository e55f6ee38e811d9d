// Messages and sums between GPUs by NCCL, one rank a GPU.
#pragma once

#include <memory>

#include "comm/device_transport.h"

namespace lockstep::comm {

/// Collective. The communicator's id travels over the world. Waits longer than the deadline end the
/// communicator and fail the stream with the report that MPI transports give.
[[nodiscard]] std::unique_ptr<Transport> make_nccl_transport(const Options& options, World& world,
                                                             const TransportSite& site);

}  // namespace lockstep::comm
