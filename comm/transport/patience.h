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
  void pause() {
    using namespace std::chrono_literals;
    constexpr auto kSpin = 20us;      // about ten latencies of a small message inside a node
    constexpr auto kYield = 200us;    // below this a sleep, which takes at least the 50 us of timer slack,
                                      // costs more than an eighth
    constexpr auto kLongest = 200us;  // lets a kernel socket buffer of 256 KiB keep a 10 Gbit/s link busy
    const auto waited = std::chrono::steady_clock::now() - begin_;
    if (waited < kSpin) return;
    if (waited < kYield) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(waited / 8, kLongest));
    }
  }
  /// Something came: more may come at once.
  void renew() { begin_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace lockstep::comm
