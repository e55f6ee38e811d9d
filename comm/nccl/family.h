// The communicators of a transport and its duplicates. A recorded step may wait in any of them, so when one
// is given up all are.
#pragma once

#include <mutex>
#include <vector>

#include "comm/nccl/communicator.h"

namespace lockstep::comm {

class CommunicatorFamily {
 public:
  /// What is added must be removed before it goes.
  void add(Communicator& communicator);
  void remove(Communicator& communicator);
  /// Blocks until all have ended. All at once: NCCL waits in each for the graphs that use it, and they may be
  /// stuck in another.
  void abort();

 private:
  std::mutex mutex_;
  std::vector<Communicator*> all_;
};

}  // namespace lockstep::comm
