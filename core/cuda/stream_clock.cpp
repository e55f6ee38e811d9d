// Points are CUDA events.
#include "core/stream_clock.h"

#include <deque>

#include "core/cuda/owned.h"
#include "core/cuda/stream.h"

namespace lockstep::cuda {

namespace {

class CudaStreamClock final : public StreamClock {
 public:
  explicit CudaStreamClock(Device device) : device_(device) {}

  std::size_t mark(Stream& stream) override {
    if (used_ == events_.size()) {
      use(device_);
      events_.emplace_back(cudaEventDefault);
    }
    check(cudaEventRecord(events_[used_].get(), native(stream)), "cudaEventRecord");
    return used_++;
  }
  [[nodiscard]] double seconds(std::size_t from, std::size_t to) override {
    use(device_);
    for (const std::size_t point : {from, to})
      check(cudaEventSynchronize(events_[point].get()), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[from].get(), events_[to].get()),
          "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }
  void reset() override { used_ = 0; }

 private:
  Device device_;
  std::deque<OwnEvent> events_;
  std::size_t used_ = 0;
};

}  // namespace

std::unique_ptr<StreamClock> make_cuda_stream_clock(Device device) {
  return std::make_unique<CudaStreamClock>(device);
}

}  // namespace lockstep::cuda
