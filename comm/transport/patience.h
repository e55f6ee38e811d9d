// How a thread polls without taking the core from the threads that compute: it spins while an answer may come
// at once, then yields, then sleeps an eighth of the time it has waited so far. So polling adds at most an
// eighth to a wait.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace lockstep::comm {

class Patience {
 public:
  Patience() = default;
  /// `crowded`: others wait for this core, so no spinning.
  explicit Patience(bool crowded)
      : begin_(std::chrono::steady_clock::now() - (crowded ? kSpin : kSpin * 0)) {}

  void pause() {
    using namespace std::chrono_literals;
    constexpr auto kYield = 200us;    // below this a sleep, which takes at least the 50 us of timer slack,
                                      // costs more than an eighth
    constexpr auto kLongest = 200us;  // lets a kernel socket buffer of 256 KiB keep a 10 Gbit/s link busy
    const auto so_far = waited();
    if (so_far < kSpin) return;
    if (so_far < kYield) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(so_far / 8, kLongest));
    }
  }
  [[nodiscard]] std::chrono::nanoseconds waited() const { return std::chrono::steady_clock::now() - begin_; }
  /// Something came: more may come at once.
  void renew() { begin_ = std::chrono::steady_clock::now(); }

 private:
  static constexpr std::chrono::microseconds kSpin{
      20};  // about ten latencies of a small message inside a node

  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace lockstep::comm
