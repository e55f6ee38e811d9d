#include "comm/peer/watch.h"

#include <chrono>
#include <cstring>
#include <utility>

#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::comm {

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(20);  // deadlines are seconds

/// The GPU writes while we read; a field that is a moment old does no harm.
Notes read(const Notes* from) {
  Notes notes;
  std::memcpy(&notes, from, sizeof notes);
  std::atomic_thread_fence(std::memory_order_acquire);
  return notes;
}

Operation operation_of(const Notes& notes) {
  return {"peer all-reduce", notes.begun, notes.bucket, notes.bytes};
}

}  // namespace

PeerWatch::PeerWatch(std::shared_ptr<Watchpost> post, int rank)
    : memory_(cuda::allocate_pinned(sizeof(Notes))), post_(std::move(post)), rank_(rank) {
  std::memset(memory_.data(), 0, sizeof(Notes));
  thread_ = std::thread([this] { serve(); });
}

PeerWatch::~PeerWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void PeerWatch::abort() noexcept {
  std::atomic_ref<std::uint32_t>(notes()->abort).store(1, std::memory_order_release);
}

void PeerWatch::serve() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, kLookEvery, [this] { return stop_; })) look();
}

void PeerWatch::look() {
  const Notes seen = read(notes());
  if (post_ && (seen.begun != told_begun_ || seen.done != told_done_)) {
    post_->publish(position_in(operation_of(seen), seen.begun != seen.done));
    told_begun_ = seen.begun;
    told_done_ = seen.done;
  }
  if (failed_ || seen.waited_ns == 0) return;
  failed_ = true;
  const Error error = report(seen);
  if (Stream* stream = stream_.load()) stream->fail(error);
  abort();
}

Error PeerWatch::report(const Notes& notes) {
  const double waited_s = static_cast<double>(notes.waited_ns) * 1e-9;
  if (post_) return post_->report(operation_of(notes), waited_s);
  return DeadlineExpired({rank_, operation_of(notes), waited_s, {notes.waiting_for}, {}});
}

}  // namespace lockstep::comm
