// Points are CUDA events.
#include "core/stopwatch.h"

#include "core/cuda/cuda.h"
#include "core/cuda/stream.h"

namespace lockstep::cuda {

namespace {

class CudaStopwatch final : public Stopwatch {
 public:
  explicit CudaStopwatch(Device device) : device_(device) {
    use(device);
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~CudaStopwatch() override {
    for (const cudaEvent_t event : {begin_, end_}) static_cast<void>(cudaEventDestroy(event));
  }

  void start(Stream& stream) override { check(cudaEventRecord(begin_, native(stream)), "cudaEventRecord"); }
  void stop(Stream& stream) override { check(cudaEventRecord(end_, native(stream)), "cudaEventRecord"); }
  [[nodiscard]] double seconds() override {
    use(device_);
    check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  Device device_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

std::unique_ptr<Stopwatch> make_cuda_stopwatch(Device device) {
  return std::make_unique<CudaStopwatch>(device);
}

}  // namespace lockstep::cuda
