// Points are CUDA events.
#include "core/stream_clock.h"

#include <vector>

#include "core/cuda/cuda.h"
#include "core/cuda/stream.h"

namespace lockstep::cuda {

namespace {

class CudaStreamClock final : public StreamClock {
 public:
  explicit CudaStreamClock(Device device) : device_(device) {}
  ~CudaStreamClock() override {
    for (const cudaEvent_t event : events_) static_cast<void>(cudaEventDestroy(event));
  }

  std::size_t mark(Stream& stream) override {
    if (used_ == events_.size()) {
      use(device_);
      events_.push_back(nullptr);
      check(cudaEventCreate(&events_.back()), "cudaEventCreate");
    }
    check(cudaEventRecord(events_[used_], native(stream)), "cudaEventRecord");
    return used_++;
  }
  [[nodiscard]] double seconds(std::size_t from, std::size_t to) override {
    use(device_);
    for (const std::size_t point : {from, to})
      check(cudaEventSynchronize(events_[point]), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[from], events_[to]), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }
  void reset() override { used_ = 0; }

 private:
  Device device_;
  std::vector<cudaEvent_t> events_;
  std::size_t used_ = 0;
};

}  // namespace

std::unique_ptr<StreamClock> make_cuda_stream_clock(Device device) {
  return std::make_unique<CudaStreamClock>(device);
}

}  // namespace lockstep::cuda
