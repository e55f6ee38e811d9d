// Ordered asynchronous work. Every device call takes a Stream, enqueues and returns at once; a CPU stream is
// a FIFO worker thread, a CUDA stream is a cudaStream_t. Work of one stream runs in order; streams meet at
// Events.
//
// A task that throws fails its stream: later tasks are skipped, events still complete (and carry the failure
// to the streams that wait for them), and synchronize() rethrows the first Error. So a failure never leaves a
// waiter behind.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/device.h"

namespace lockstep {

class Error;

/// A point in a stream. Copies share the point; a default-made event is complete.
class Event {
 public:
  struct State;  ///< in event_state.h; each kind of stream derives its own

  Event() = default;
  explicit Event(std::shared_ptr<State> state) : state_(std::move(state)) {}
  /// True once the work before the point has run (or was skipped by a failure).
  [[nodiscard]] bool complete() const;
  /// Blocks the calling thread until complete. Does not throw what the stream threw.
  void wait() const;
  [[nodiscard]] const std::shared_ptr<State>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<State> state_;
};

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  [[nodiscard]] virtual Device device() const noexcept = 0;
  /// Enqueues host work in stream order. The work must not call synchronize() on its own stream.
  virtual void host(std::function<void()> work) = 0;
  /// A point after everything enqueued so far.
  [[nodiscard]] virtual Event record() = 0;
  /// Work enqueued from now on starts after `event`. Returns at once.
  virtual void wait(const Event& event) = 0;
  /// Blocks until all work has run; rethrows the first failure (and keeps failing until the stream dies).
  virtual void synchronize() = 0;
  /// Fails the stream from outside, as a task that throws `error` would; a GPU's stream at once, a host's in
  /// order.
  virtual void fail(const Error& error) = 0;
  /// Seconds this stream has spent blocked in wait() since it was made: exposed communication when the
  /// compute stream waits for the communication stream.
  [[nodiscard]] virtual double waited_s() const = 0;
};

/// How a CPU stream runs its work.
struct StreamOptions {
  std::string name = "stream";  ///< shown by debuggers and logs, at most 15 characters
  int threads = 1;              ///< OpenMP threads that library calls made from the worker may use
};

/// A new stream on `device`. Throws Fault::device when this build has no such device.
[[nodiscard]] std::unique_ptr<Stream> make_stream(Device device, const StreamOptions& options = {});

}  // namespace lockstep
