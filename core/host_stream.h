// A stream whose work runs on one worker thread of the host, in the order it was enqueued.
#pragma once

#include <memory>

#include "core/stream.h"
#include "core/stream_clock.h"

namespace lockstep {

/// The destructor runs what was enqueued and joins the worker. host(), record(), wait() and waited_s() may be
/// called from any thread, also from work of the stream itself; the order of calls from different threads is
/// the order of their arrival.
[[nodiscard]] std::unique_ptr<Stream> make_host_stream(Device device, const StreamOptions& options);

[[nodiscard]] std::unique_ptr<StreamClock> make_host_stream_clock(Device device);

}  // namespace lockstep
