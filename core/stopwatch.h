// Seconds between two points of a stream, by the clock of whoever runs its work.
#pragma once

#include <memory>

#include "core/stream.h"

namespace lockstep {

class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  /// Each enqueues a point; the stream must have passed both before the stopwatch is destroyed.
  virtual void start(Stream& stream) = 0;
  virtual void stop(Stream& stream) = 0;
  /// Blocks until the stream has passed stop().
  [[nodiscard]] virtual double seconds() = 0;
};

[[nodiscard]] std::unique_ptr<Stopwatch> make_stopwatch(Device device);

}  // namespace lockstep
