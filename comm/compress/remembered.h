// State that a step changes and may have to give back. A step's outcome (finite or not) is known only after
// its buckets were exchanged, so a compressor changes `current` and keeps what stood before in `settled`; the
// next step first settles: it keeps the change when the last step was accepted, else gives it back.
#pragma once

#include <cstdint>
#include <memory>

#include "core/memory.h"
#include "core/stream.h"

namespace lockstep::comm {

class Remembered {
 public:
  /// One i32 on the device: 1 when the last step was accepted. Shared by all state of an exchange.
  using Verdict = std::shared_ptr<FlatArray>;

  Remembered() = default;
  Remembered(Verdict verdict, Dtype dtype, std::int64_t count);

  [[nodiscard]] FlatSpan settled() const noexcept { return settled_.span; }
  [[nodiscard]] FlatSpan current() const noexcept { return current_.span; }
  [[nodiscard]] const Verdict& verdict() const noexcept { return verdict_; }
  /// Enqueues settling; afterwards both copies are equal.
  void settle(Stream& stream);
  /// The copy that stands. Blocking: no stream may be using it.
  [[nodiscard]] FlatSpan standing() const;

 private:
  Verdict verdict_;
  FlatArray settled_, current_;
};

}  // namespace lockstep::comm
