#include "comm/nccl/watch.h"

#include <utility>

#include "core/error.h"

namespace lockstep::comm {

namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(20);  // deadlines are seconds

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

NcclWatch::NcclWatch(Communicator& communicator, std::shared_ptr<CommunicatorFamily> family,
                     std::shared_ptr<Watchpost> post, int rank, double deadline_s)
    : family_(std::move(family)), post_(std::move(post)), rank_(rank), deadline_s_(deadline_s) {
  add(communicator);
  thread_ = std::thread([this] { serve(); });
}

NcclWatch::~NcclWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
  for (Communicator* each : communicators_) family_->remove(*each);
}

void NcclWatch::add(Communicator& communicator) {
  family_->add(communicator);
  const std::lock_guard lock(mutex_);
  communicators_.push_back(&communicator);
}

void NcclWatch::add(const Operation& operation, Event begin, Event end, Stream& stream) {
  if (post_) post_->publish(position_in(operation, true));
  const std::lock_guard lock(mutex_);
  watched_.push_back({operation, std::move(begin), std::move(end), &stream, {}, false});
}

ncclResult_t NcclWatch::asynchronous_error() const {
  for (const Communicator* each : communicators_) {
    const ncclResult_t error = each->asynchronous_error();
    if (error != ncclSuccess) return error;
  }
  return ncclSuccess;
}

void NcclWatch::serve() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, kLookEvery, [this] { return stop_; })) {
    const ncclResult_t error = asynchronous_error();
    const Watched* late = look();
    if (late == nullptr && (error == ncclSuccess || watched_.empty())) continue;
    const Watched watched = late != nullptr ? *late : watched_.front();
    watched_.clear();
    lock.unlock();
    if (late != nullptr) {
      const double waited = seconds_since(watched.began);
      give_up(watched, post_ ? Error(post_->report(watched.operation, waited))
                             : Error(DeadlineExpired({rank_, watched.operation, waited, {}, {}})));
    } else {
      give_up(watched,
              Error(Fault::communication,
                    std::string(watched.operation.name) + ": NCCL failed: " + ncclGetErrorString(error),
                    "a peer or a link broke; see the other ranks' logs"));
    }
    return;
  }
}

const NcclWatch::Watched* NcclWatch::look() {
  while (!watched_.empty() && watched_.front().end.complete()) {
    if (post_) post_->publish(position_in(watched_.front().operation, false));
    watched_.pop_front();
  }
  if (watched_.empty()) return nullptr;
  Watched& first = watched_.front();
  if (!first.running && first.begin.complete()) {
    first.running = true;
    first.began = Clock::now();
  }
  return first.running && seconds_since(first.began) > deadline_s_ ? &first : nullptr;
}

/// The stream fails first, so that nobody takes what the aborted kernels leave for a result. Not under the
/// lock: who holds the graphs that NCCL waits for may come to add().
void NcclWatch::give_up(const Watched& watched, const Error& error) {
  watched.stream->fail(error);
  family_->abort();
}

}  // namespace lockstep::comm
