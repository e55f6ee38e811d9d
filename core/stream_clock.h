// When streams pass points, on one time line, by the clock of whoever runs their work.
#pragma once

#include <cstddef>
#include <memory>

#include "core/stream.h"

namespace lockstep {

/// Used by one thread at a time.
class StreamClock {
 public:
  virtual ~StreamClock() = default;
  /// Enqueues a point of a stream of the clock's device and returns its number: 0, 1, ... The stream must
  /// have passed it before the clock is destroyed.
  virtual std::size_t mark(Stream& stream) = 0;
  /// Blocks until the streams have passed both.
  [[nodiscard]] virtual double seconds(std::size_t from, std::size_t to) = 0;
  /// Numbers start at 0 again; nobody asks for the points that were.
  virtual void reset() = 0;
};

[[nodiscard]] std::unique_ptr<StreamClock> make_stream_clock(Device device);

}  // namespace lockstep
