// The worker takes the whole queue at once and runs it without the lock, so a busy stream costs an enqueuer
// one short critical section and wakes nobody; only an idle worker has to be notified.
#include "core/host_stream.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "core/event_state.h"
#include "core/threads.h"

namespace lockstep {

namespace {

using Failure = std::shared_ptr<const Error>;

/// Completes once. `failure_` is written before the flag is raised and never afterwards.
struct HostEvent final : Event::State {
  [[nodiscard]] bool complete() const override { return complete_.load(std::memory_order_acquire); }
  void wait() const override { complete_.wait(false, std::memory_order_acquire); }
  [[nodiscard]] Failure failure() const override { return failure_; }

  void finish(Failure failure) {
    failure_ = std::move(failure);
    complete_.store(true, std::memory_order_release);
    complete_.notify_all();
  }

 private:
  std::atomic<bool> complete_ = false;
  Failure failure_;
};

/// One entry of the queue: host work, a point to complete, or a point of another stream to wait for.
struct Task {
  std::function<void()> work = {};
  std::shared_ptr<HostEvent> record = {};
  std::shared_ptr<Event::State> wait = {};
};

/// What the exception being handled means as an Error.
Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return std::make_shared<const Error>(error);
  } catch (const std::bad_alloc&) {
    return std::make_shared<const Error>(Fault::device, "out of host memory in stream work",
                                         "use a smaller microbatch or fewer ranks per node");
  } catch (const std::exception& error) {
    return std::make_shared<const Error>(Fault::internal,
                                         std::string("unexpected exception in stream work: ") + error.what());
  } catch (...) {
    return std::make_shared<const Error>(Fault::internal, "unknown exception in stream work");
  }
}

class HostStream final : public Stream {
 public:
  HostStream(Device device, const StreamOptions& options)
      : device_(device),
        name_(options.name),
        worker_([this, threads = options.threads] { serve(threads); }) {}

  ~HostStream() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    arrived_.notify_one();
    worker_.join();
  }

  [[nodiscard]] Device device() const noexcept override { return device_; }

  void host(std::function<void()> work) override { enqueue({.work = std::move(work)}); }

  [[nodiscard]] Event record() override {
    auto state = std::make_shared<HostEvent>();
    enqueue({.record = state});
    return Event(std::move(state));
  }

  void wait(const Event& event) override {
    if (event.state() != nullptr) enqueue({.wait = event.state()});
  }

  void synchronize() override {
    if (std::this_thread::get_id() == worker_.get_id()) {
      throw Error(Fault::internal, "stream '" + name_ + "' was synchronized from its own work");
    }
    const Event end = record();
    end.wait();
    if (const Failure failure = end.state()->failure()) throw Error(*failure);
  }

  void fail(const Error& error) override {
    host([error] { throw Error(error); });
  }

  [[nodiscard]] double waited_s() const override {
    return std::chrono::duration<double>(std::chrono::nanoseconds(waited_ns_.load())).count();
  }

 private:
  void enqueue(Task&& task) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(task));
      wake = idle_;
      idle_ = false;
    }
    if (wake) arrived_.notify_one();
  }

  /// The worker: runs batches until the stream closes and the queue is empty.
  void serve(int threads) {
    name_this_thread(name_);
    set_library_threads(threads);
    std::vector<Task> batch;
    while (take(batch)) {
      for (Task& task : batch) {
        run(task);
        task = Task{};  // what the work captured is released before the next task, as the caller may expect
      }
      batch.clear();
    }
  }

  /// Swaps the queue into the empty `batch`; false when there is nothing left to come.
  bool take(std::vector<Task>& batch) {
    std::unique_lock lock(mutex_);
    while (queue_.empty() && !closing_) {
      idle_ = true;
      arrived_.wait(lock);
    }
    idle_ = false;
    batch.swap(queue_);
    return !batch.empty();
  }

  void run(Task& task) {
    if (task.record != nullptr) return task.record->finish(failure_);
    try {
      // Also after a failure: whoever sees this stream end may free what the other stream still uses.
      if (task.wait != nullptr) return await(*task.wait);
      if (failure_ == nullptr) task.work();
    } catch (...) {  // a wait throws where the other stream's device is gone
      if (failure_ == nullptr) failure_ = current_failure();
    }
  }

  void await(const Event::State& event) {
    if (!event.complete()) {
      const auto start = std::chrono::steady_clock::now();
      event.wait();
      const auto waited = std::chrono::steady_clock::now() - start;
      waited_ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count();
    }
    if (failure_ == nullptr) failure_ = event.failure();
  }

  const Device device_;
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Task> queue_;  // under mutex_
  bool idle_ = false;        // under mutex_: the worker sleeps and nobody has woken it yet
  bool closing_ = false;     // under mutex_
  Failure failure_;          // the worker's own
  std::atomic<std::int64_t> waited_ns_ = 0;
  std::thread worker_;  // last: starts when everything else is there
};

}  // namespace

std::unique_ptr<Stream> make_host_stream(Device device, const StreamOptions& options) {
  return std::make_unique<HostStream>(device, options);
}

}  // namespace lockstep
