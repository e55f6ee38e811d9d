#include "core/cuda/stream.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "core/cuda/owned.h"
#include "core/error.h"
#include "core/event_state.h"

namespace lockstep::cuda {

namespace {

/// The first failure of a stream or of a stream it has waited for; shared with its events. A neighbour's own
/// failure counts, not what the neighbour heard of: streams wait for each other, so there are circles.
class FailureCell {
 public:
  void set(std::shared_ptr<const Error> error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  void hear(const std::shared_ptr<FailureCell>& other) {
    const std::lock_guard lock(mutex_);
    if (other.get() != this && std::find(heard_.begin(), heard_.end(), other) == heard_.end())
      heard_.push_back(other);
  }
  [[nodiscard]] std::shared_ptr<const Error> get() const {
    std::vector<std::shared_ptr<FailureCell>> others;
    {
      const std::lock_guard lock(mutex_);
      if (error_) return error_;
      others = heard_;
    }
    for (const auto& other : others) {
      const std::lock_guard lock(other->mutex_);
      if (other->error_) return other->error_;
    }
    return nullptr;
  }
  /// Breaks circles when the stream goes.
  void forget() {
    const std::lock_guard lock(mutex_);
    heard_.clear();
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Error> error_;
  std::vector<std::shared_ptr<FailureCell>> heard_;
};

/// Asks without leaving "not ready" behind as the thread's last error.
cudaError_t query(const OwnEvent& event) {
  const cudaError_t status = cudaEventQuery(event.get());
  if (status == cudaErrorNotReady) static_cast<void>(cudaGetLastError());
  return status;
}

struct CudaEventState final : Event::State {
  CudaEventState(Device where, std::shared_ptr<FailureCell> cell)
      : device(where), event(cudaEventDisableTiming | cudaEventBlockingSync), failures(std::move(cell)) {}

  [[nodiscard]] bool complete() const override { return captured || query(event) != cudaErrorNotReady; }
  void wait() const override {
    if (captured) return;
    use(device);
    const cudaError_t status = cudaEventSynchronize(event.get());
    if (status == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());
    failures->set(std::make_shared<Error>(
        Fault::device, std::string("a CUDA stream failed: ") + cudaGetErrorString(status)));
  }
  [[nodiscard]] std::shared_ptr<const Error> failure() const override { return failures->get(); }

  Device device;
  OwnEvent event;
  std::shared_ptr<FailureCell> failures;
  bool captured = false;  ///< recorded into a graph: an edge of it, no point in time
};

/// Begin and end of a wait on the device.
struct WaitSpan {
  std::shared_ptr<OwnEvent> begin, end;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(Device device) : device_(device), failures_(std::make_shared<FailureCell>()) {
    use(device);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    scratch_ = allocate(device, kScratchBytes);
  }
  ~CudaStream() override {
    static_cast<void>(cudaStreamSynchronize(stream_));
    static_cast<void>(cudaStreamDestroy(stream_));
    failures_->forget();
  }

  [[nodiscard]] Device device() const noexcept override { return device_; }
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }
  [[nodiscard]] void* scratch() const noexcept { return scratch_.data(); }

  void host(std::function<void()> work) override {
    use(device_);
    // A graph would run the task again and again, long after it is gone.
    if (capturing()) throw Error(Fault::internal, "a host task cannot be recorded");
    auto task = std::make_unique<Task>(Task{std::move(work), failures_});
    check(cudaLaunchHostFunc(stream_, run_task, task.get()), "cudaLaunchHostFunc");
    static_cast<void>(task.release());  // run_task owns it now
  }

  [[nodiscard]] Event record() override {
    use(device_);
    auto state = std::make_shared<CudaEventState>(device_, failures_);
    state->captured = capturing();
    check(cudaEventRecord(state->event.get(), stream_), "cudaEventRecord");
    return Event(std::move(state));
  }

  void wait(const Event& event) override {
    if (event.state() == nullptr) return;
    if (const auto* other = dynamic_cast<const CudaEventState*>(event.state().get())) {
      wait_on_device(*other);
      return;
    }
    // A host stream's event: driver callbacks may not block, so the caller waits before it enqueues more.
    event.wait();
    if (auto error = event.state()->failure()) failures_->set(std::move(error));
  }

  void synchronize() override {
    use(device_);
    if (capturing()) throw Error(Fault::internal, "a stream that is being recorded cannot be waited for");
    const cudaError_t status = cudaStreamSynchronize(stream_);
    if (const auto error = failures_->get()) throw Error(*error);
    check(status, "cudaStreamSynchronize");
  }

  void fail(const Error& error) override { failures_->set(std::make_shared<Error>(error)); }

  [[nodiscard]] double waited_s() const override {
    const std::lock_guard lock(waits_mutex_);
    while (!waits_.empty() && query(*waits_.front().end) == cudaSuccess) {
      float milliseconds = 0;
      if (cudaEventElapsedTime(&milliseconds, waits_.front().begin->get(), waits_.front().end->get()) ==
          cudaSuccess)
        waited_s_ += static_cast<double>(milliseconds) * 1e-3;
      waits_.pop_front();
    }
    return waited_s_;
  }

 private:
  struct Task {
    std::function<void()> work;
    std::shared_ptr<FailureCell> failures;
  };

  static void CUDART_CB run_task(void* data) {
    const std::unique_ptr<Task> task(static_cast<Task*>(data));
    if (task->failures->get()) return;
    try {
      task->work();
    } catch (const Error& error) {
      task->failures->set(std::make_shared<Error>(error));
    } catch (const std::exception& error) {
      task->failures->set(std::make_shared<Error>(Fault::internal, error.what()));
    }
  }

  [[nodiscard]] bool capturing() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_, &status), "cudaStreamIsCapturing");
    return status != cudaStreamCaptureStatusNone;
  }

  void wait_on_device(const CudaEventState& other) {
    use(device_);
    failures_->hear(other.failures);
    const bool timed = !other.captured && !capturing() && query(other.event) != cudaSuccess;
    WaitSpan span;
    if (timed) {
      span = {std::make_shared<OwnEvent>(cudaEventDefault), std::make_shared<OwnEvent>(cudaEventDefault)};
      check(cudaEventRecord(span.begin->get(), stream_), "cudaEventRecord");
    }
    check(cudaStreamWaitEvent(stream_, other.event.get(), 0), "cudaStreamWaitEvent");
    if (!timed) return;
    check(cudaEventRecord(span.end->get(), stream_), "cudaEventRecord");
    const std::lock_guard lock(waits_mutex_);
    waits_.push_back(std::move(span));
  }

  Device device_;
  cudaStream_t stream_ = nullptr;
  Memory scratch_;
  std::shared_ptr<FailureCell> failures_;
  mutable std::mutex waits_mutex_;
  mutable std::deque<WaitSpan> waits_;
  mutable double waited_s_ = 0;
};

}  // namespace

std::unique_ptr<Stream> make_cuda_stream(Device device, const StreamOptions& /*options*/) {
  return std::make_unique<CudaStream>(device);
}

namespace {

CudaStream& cuda_stream(Stream& stream) {
  auto* found = dynamic_cast<CudaStream*>(&stream);
  if (found == nullptr) throw Error(Fault::internal, "a GPU operation was given a host stream");
  use(stream.device());
  return *found;
}

}  // namespace

cudaStream_t native(Stream& stream) { return cuda_stream(stream).get(); }

void* scratch(Stream& stream) { return cuda_stream(stream).scratch(); }

}  // namespace lockstep::cuda
