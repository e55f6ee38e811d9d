// Lets work of a host stream begin when all of it has been enqueued. Short work is otherwise done before the
// next is there: its worker sleeps and is woken again, for some 5 us each time.
#pragma once

#include <latch>
#include <memory>

#include "core/stream.h"

namespace lockstep {

class Hold {
 public:
  /// Until the hold ends, a host stream does nothing that is enqueued from now on; nobody may wait for it
  /// meanwhile. A GPU's stream goes on.
  explicit Hold(Stream& stream) {
    if (stream.device().kind != DeviceKind::cpu) return;
    stream.host([ended = ended_] { ended->wait(); });
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold() { ended_->count_down(); }

 private:
  std::shared_ptr<std::latch> ended_ = std::make_shared<std::latch>(1);
};

}  // namespace lockstep
