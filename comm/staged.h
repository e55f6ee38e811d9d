// GPU buffers over a transport that moves host memory: every message goes through page-locked memory. The
// fallback where there is no NCCL.
#pragma once

#include <memory>

#include "comm/transport.h"

namespace lockstep::comm {

/// Copies run on the caller's stream, messages on a host stream of its own. The thread that enqueues a
/// transfer waits until the messages are through, because a GPU's stream cannot wait for the host.
[[nodiscard]] std::unique_ptr<Transport> make_staged_transport(std::unique_ptr<Transport> host,
                                                               Device device);

}  // namespace lockstep::comm
