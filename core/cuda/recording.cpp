// CUDA graphs as recordings.
#include "core/cuda/recording.h"

#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep::cuda {

namespace {

class Graph final : public Recording {
 public:
  explicit Graph(cudaGraph_t graph) : graph_(graph) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph_, 0);
    if (status != cudaSuccess) static_cast<void>(cudaGraphDestroy(graph_));
    check(status, "cudaGraphInstantiate");
  }
  ~Graph() override {
    static_cast<void>(cudaGraphExecDestroy(executable_));
    static_cast<void>(cudaGraphDestroy(graph_));
  }
  void run(Stream& stream) override {
    check(cudaGraphLaunch(executable_, native(stream)), "cudaGraphLaunch");
  }

 private:
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

/// Ends a capture whatever happens.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    // Relaxed: other threads may copy and allocate meanwhile; what is recorded does neither.
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    if (ended_) return;
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(stream_, &graph));
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());
  }
  cudaGraph_t end() {
    ended_ = true;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    return graph;
  }

 private:
  cudaStream_t stream_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Recording> record(Stream& stream, const std::function<void()>& enqueue) {
  Capture capture(native(stream));
  enqueue();
  return std::make_unique<Graph>(capture.end());
}

}  // namespace lockstep::cuda
