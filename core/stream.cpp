#include "core/stream.h"

#include "core/backends.h"
#include "core/event_state.h"

namespace lockstep {

bool Event::complete() const { return state_ == nullptr || state_->complete(); }

void Event::wait() const {
  if (state_ != nullptr) state_->wait();
}

std::unique_ptr<Stream> make_stream(Device device, const StreamOptions& options) {
  return backend_of(device).make_stream(device, options);
}

}  // namespace lockstep
