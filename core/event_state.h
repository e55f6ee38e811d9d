// What stands behind an Event. Each kind of stream derives its own; the rest of the program sees only this,
// so streams of different devices can wait for each other.
#pragma once

#include <memory>

#include "core/error.h"
#include "core/stream.h"

namespace lockstep {

/// Thread use: any thread may call any of these at any time.
struct Event::State {
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  virtual ~State() = default;

  [[nodiscard]] virtual bool complete() const = 0;
  /// Blocks until complete.
  virtual void wait() const = 0;
  /// Why the stream had failed when it came to this point; null when it had not. Call after completion only.
  [[nodiscard]] virtual std::shared_ptr<const Error> failure() const = 0;
};

}  // namespace lockstep
