// Host work that keeps account of what a stream does.
#pragma once

#include <functional>

#include "core/stream.h"

namespace lockstep::comm {

/// Does `work` in stream order on the host. A GPU is not held up by host tasks: there it is done at once, and
/// counts and times are those of enqueueing.
inline void note(Stream& stream, std::function<void()> work) {
  if (stream.device().kind == DeviceKind::cpu) {
    stream.host(std::move(work));
  } else {
    work();
  }
}

}  // namespace lockstep::comm
