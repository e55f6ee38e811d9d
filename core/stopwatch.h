// Seconds between two points of a stream.
#pragma once

#include <memory>
#include <utility>

#include "core/stream_clock.h"

namespace lockstep {

class Stopwatch {
 public:
  explicit Stopwatch(std::unique_ptr<StreamClock> clock) : clock_(std::move(clock)) {}
  /// Each enqueues a point; the stream must have passed both before the stopwatch is destroyed.
  void start(Stream& stream) {
    clock_->reset();
    static_cast<void>(clock_->mark(stream));
  }
  void stop(Stream& stream) { end_ = clock_->mark(stream); }
  /// Blocks until the stream has passed stop().
  [[nodiscard]] double seconds() { return clock_->seconds(0, end_); }

 private:
  std::unique_ptr<StreamClock> clock_;
  std::size_t end_ = 0;
};

[[nodiscard]] inline std::unique_ptr<Stopwatch> make_stopwatch(Device device) {
  return std::make_unique<Stopwatch>(make_stream_clock(device));
}

}  // namespace lockstep
