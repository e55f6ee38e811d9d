#include "comm/transport/shared_counter.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <climits>
#include <ctime>

namespace lockstep::comm {

namespace {

/// A futex is a word: the one of the value that every raise changes.
static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(std::atomic<std::uint64_t>) == sizeof(std::uint64_t));

/// Of any process: not FUTEX_PRIVATE_FLAG.
void futex(const std::atomic<std::uint64_t>& word, int operation, std::uint32_t argument,
           const timespec* at_most) noexcept {
  static_cast<void>(syscall(SYS_futex, &word, operation, argument, at_most, nullptr, 0));
}

}  // namespace

void SharedCounter::raise(std::uint64_t value) noexcept {
  value_.store(value, std::memory_order_release);
  if (sleepers_.load(std::memory_order_relaxed) != 0) futex(value_, FUTEX_WAKE, INT_MAX, nullptr);
}

void SharedCounter::sleep(std::uint64_t seen, std::chrono::nanoseconds at_most) const noexcept {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const timespec time{.tv_sec = at_most.count() / kSecond, .tv_nsec = at_most.count() % kSecond};
  sleepers_.fetch_add(1);
  if (value() == seen) futex(value_, FUTEX_WAIT, static_cast<std::uint32_t>(seen), &time);
  sleepers_.fetch_sub(1);
}

}  // namespace lockstep::comm
