// How a thread polls without taking the core from the threads that compute: it spins while an answer may come
// at once, then yields, then sleeps an eighth of the time it has waited so far. So polling adds at most an
// eighth to a wait.
//
// Where ranks share processors, who spins keeps those from running that it waits for, and ranks that sleep
// keep each other waiting so long that all sleep again: on two processors a ring of 4 ranks took 1,000 us for
// 8 bytes so, and takes 60 without spinning and with yielding for longer.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace lockstep::comm {

class Patience {
 public:
  Patience() : Patience(kSpin, kYield) {}
  /// `crowded`: more ranks than processors.
  explicit Patience(bool crowded) : Patience(crowded ? kSpin * 0 : kSpin, crowded ? kYieldCrowded : kYield) {}
  /// For who spins by itself.
  static Patience without_spinning() { return {kSpin * 0, kYield}; }

  void pause() {
    using namespace std::chrono_literals;
    constexpr auto kLongest = 200us;  // lets a kernel socket buffer of 256 KiB keep a 10 Gbit/s link busy
    if (!spin_or_yield()) std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(nap(), kLongest));
  }
  /// For who has a better way to sleep: false when it is time to, for a nap().
  [[nodiscard]] bool spin_or_yield() const {
    const auto so_far = waited();
    if (so_far >= yield_) return false;
    if (so_far >= spin_) std::this_thread::yield();
    return true;
  }
  [[nodiscard]] std::chrono::nanoseconds nap() const { return waited() / 8; }
  [[nodiscard]] std::chrono::nanoseconds waited() const { return std::chrono::steady_clock::now() - begin_; }
  /// Something came: more may come at once.
  void renew() { begin_ = std::chrono::steady_clock::now(); }

 private:
  Patience(std::chrono::microseconds spin, std::chrono::microseconds yield) : spin_(spin), yield_(yield) {}

  /// About ten latencies of a small message inside a node.
  static constexpr std::chrono::microseconds kSpin{20};
  /// Below this a sleep, which takes at least the 50 us of timer slack, costs more than an eighth.
  static constexpr std::chrono::microseconds kYield{200}, kYieldCrowded{1000};

  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::microseconds spin_;
  std::chrono::microseconds yield_;
};

}  // namespace lockstep::comm
