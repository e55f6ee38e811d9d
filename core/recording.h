// Work recorded once and run many times: a CUDA graph. What differs from run to run must be read from device
// memory, because arguments are recorded as they are.
#pragma once

#include <functional>
#include <memory>

#include "core/stream.h"

namespace lockstep {

class Recording {
 public:
  Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  virtual ~Recording() = default;
  /// Enqueues the recorded work. The memory that it uses must still be there.
  virtual void run(Stream& stream) = 0;
};

/// True when streams of that device can be recorded.
[[nodiscard]] bool can_record(Device device);

/// Records what `enqueue` puts on `stream`, and on streams that wait for it and that it waits for in turn;
/// nothing runs. Host tasks and blocking calls inside throw; then, and when `enqueue` throws, the streams are
/// as before. Only for a device that can_record().
[[nodiscard]] std::unique_ptr<Recording> record_work(Stream& stream, const std::function<void()>& enqueue);

}  // namespace lockstep
