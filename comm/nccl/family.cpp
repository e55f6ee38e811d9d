#include "comm/nccl/family.h"

#include <thread>

namespace lockstep::comm {

void CommunicatorFamily::add(Communicator& communicator) {
  const std::lock_guard lock(mutex_);
  all_.push_back(&communicator);
}

void CommunicatorFamily::remove(Communicator& communicator) {
  const std::lock_guard lock(mutex_);
  std::erase(all_, &communicator);
}

void CommunicatorFamily::abort() {
  const std::lock_guard lock(mutex_);
  std::vector<std::jthread> aborts;
  for (Communicator* each : all_) aborts.emplace_back([each] { each->abort(); });
}

}  // namespace lockstep::comm
