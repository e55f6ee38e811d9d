// GPU buffers over a transport of the host, MPI: messages pass through page-locked memory, or, where the
// transport takes GPU memory (CUDA-aware MPI), go straight from buffer to buffer.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "comm/transport.h"

namespace lockstep::comm {

enum class MessagePath { staged, direct };

/// `wanted` is "staged", "direct", or "auto": direct where `takes_gpu_memory`. Throws Fault::config naming
/// `key` when direct is not possible.
[[nodiscard]] MessagePath message_path(std::string_view wanted, bool takes_gpu_memory,
                                       const std::string& key);

/// Messages run on a host stream of its own, copies on the caller's stream. The thread that enqueues a
/// transfer waits until the messages are through, because a GPU's stream cannot wait for the host. The
/// library's sums are staged on either path.
[[nodiscard]] std::unique_ptr<Transport> make_device_messages(std::unique_ptr<Transport> host, Device device,
                                                              MessagePath path);

}  // namespace lockstep::comm
