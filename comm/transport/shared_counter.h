// A counter in memory that processes share, which one of them raises and others wait for: by looking, and
// asleep in the kernel (a futex), which wakes them at once and meanwhile gives their processor to others.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace lockstep::comm {

/// Zero at first, as fresh shared memory is.
class SharedCounter {
 public:
  [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_acquire); }
  /// What was written before is seen by who sees the new value. Wakes who sleeps, but perhaps not who is just
  /// falling asleep: to be sure of that takes a fence, and a third of the time of a short sum.
  void raise(std::uint64_t value) noexcept;
  /// Until the value is no longer `seen`, at most so long; then look again. May return early.
  void sleep(std::uint64_t seen, std::chrono::nanoseconds at_most) const noexcept;

 private:
  std::atomic<std::uint64_t> value_;
  mutable std::atomic<std::uint32_t> sleepers_;
};

}  // namespace lockstep::comm
