// A counter that others wait for asleep: who sleeps is woken, also in another process, and nobody sleeps for
// a value that has come.
#include "comm/transport/shared_counter.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <new>
#include <thread>
#include <vector>

namespace lockstep::comm {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Whoever slept so long was not woken.
constexpr auto kForgotten = 60s;

bool woken(const SharedCounter& counter, std::uint64_t seen) {
  const auto begin = Clock::now();
  while (counter.value() == seen && Clock::now() - begin < kForgotten) counter.sleep(seen, kForgotten);
  return Clock::now() - begin < kForgotten / 2;
}

TEST(SharedCounter, nobody_sleeps_for_what_has_come) {
  SharedCounter counter{};
  counter.raise(7);
  EXPECT_EQ(counter.value(), 7U);
  EXPECT_TRUE(woken(counter, 6));
}

TEST(SharedCounter, sleep_ends_without_a_new_value) {
  const SharedCounter counter{};
  counter.sleep(0, 1ms);
  EXPECT_EQ(counter.value(), 0U);
}

TEST(SharedCounter, threads_follow_each_other) {
  constexpr std::uint64_t kTimes = 200;
  SharedCounter counter{}, seen[2]{};
  std::vector<std::thread> threads;
  for (SharedCounter& own : seen) {
    threads.emplace_back([&] {
      for (std::uint64_t time = 0; time < kTimes; ++time) {
        while (counter.value() == time) counter.sleep(time, 5ms);
        own.raise(time + 1);
      }
    });
  }
  for (std::uint64_t time = 0; time < kTimes; ++time) {
    counter.raise(time + 1);
    for (const SharedCounter& each : seen)
      while (each.value() == time) each.sleep(time, 5ms);
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(counter.value(), kTimes);
}

TEST(SharedCounter, another_process_is_woken) {
  void* page =
      mmap(nullptr, sizeof(SharedCounter) * 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  auto* counters = new (page) SharedCounter[2]{};
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    counters[1].raise(1);
    _exit(woken(counters[0], 0) ? 0 : 1);
  }
  EXPECT_TRUE(woken(counters[1], 0));
  std::this_thread::sleep_for(20ms);  // most likely it sleeps now
  counters[0].raise(1);
  int status = 1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "it slept until its time was over";
  munmap(page, sizeof(SharedCounter) * 2);
}

}  // namespace
}  // namespace lockstep::comm
