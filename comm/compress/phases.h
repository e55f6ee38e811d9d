// What the parts of an exchange take: encoding, waiting for the wire, decoding.
#pragma once

#include <memory>
#include <vector>

#include "comm/compress/options.h"
#include "core/stopwatch.h"
#include "core/stream.h"

namespace lockstep::comm {

enum class Phase { encode, wire, decode };

/// A host is asked for the time in stream order; on a GPU marks are events, which hold kernels up a little
/// and are there only where asked for.
class PhaseClock {
 public:
  /// From the next exchange on.
  void take(bool on_gpus) noexcept { on_gpus_ = on_gpus; }
  /// Enqueues the begin of an exchange.
  void start(Stream& stream);
  /// Enqueues: what came since the last mark belongs to `phase`.
  void mark(Phase phase, Stream& stream);
  /// Of the last exchange. On the host read it in stream order; on a GPU it blocks until the stream has
  /// passed.
  [[nodiscard]] PhaseTimes times();

 private:
  struct Lap {
    std::unique_ptr<Stopwatch> watch;
    Phase phase = Phase::encode;
  };
  void start_lap(Stream& stream);

  PhaseTimes host_times_;
  double last_mark_ = 0;
  bool on_gpus_ = false;
  std::vector<Lap> laps_;   ///< on a GPU; the one behind the last mark is open
  std::size_t marked_ = 0;  ///< on a GPU; a host's stream reads it while the next exchange is enqueued
};

}  // namespace lockstep::comm
