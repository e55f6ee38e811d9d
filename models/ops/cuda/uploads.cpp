#include "models/ops/cuda/uploads.h"

#include <array>

#include "core/cuda/owned.h"

namespace lockstep::models::cuda {

using lockstep::cuda::check;

struct Uploads::Block {
  Memory memory;
  lockstep::cuda::OwnEvent copied{cudaEventDisableTiming}, consumed{cudaEventDisableTiming};
};

struct Uploads::Ring {
  std::array<Block, 2> blocks;
  std::size_t turn = 0;
  [[nodiscard]] Block& now() { return blocks[turn % blocks.size()]; }
};

Uploads::Uploads(Device device) : device_(device) {}

Uploads::~Uploads() {
  if (stream_ == nullptr) return;
  static_cast<void>(cudaStreamSynchronize(stream_));
  static_cast<void>(cudaStreamDestroy(stream_));
}

const void* Uploads::copy(const void* tensor, const void* host, std::size_t bytes, cudaStream_t on) {
  if (stream_ == nullptr)
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  auto& ring = rings_[tensor];
  if (ring == nullptr) ring = std::make_unique<Ring>();
  Block& block = ring->now();
  if (block.memory.bytes() < bytes) {
    check(cudaStreamSynchronize(on), "cudaStreamSynchronize");  // who may still read the smaller block
    block.memory = allocate(device_, bytes);
  }
  check(cudaStreamWaitEvent(stream_, block.consumed.get(), 0), "cudaStreamWaitEvent");
  check(cudaMemcpyAsync(block.memory.data(), host, bytes, cudaMemcpyHostToDevice, stream_),
        "cudaMemcpyAsync");
  check(cudaEventRecord(block.copied.get(), stream_), "cudaEventRecord");
  check(cudaStreamWaitEvent(on, block.copied.get(), 0), "cudaStreamWaitEvent");
  return block.memory.data();
}

void Uploads::release(const void* tensor, cudaStream_t on) {
  Ring& ring = *rings_.at(tensor);
  check(cudaEventRecord(ring.now().consumed.get(), on), "cudaEventRecord");
  ++ring.turn;
}

}  // namespace lockstep::models::cuda
