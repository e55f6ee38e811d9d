// An NCCL communicator with the checks around it. Includes nccl.h: for .cpp files of this folder only.
#pragma once

#include <nccl.h>

#include <memory>
#include <mutex>

#include "comm/nccl/nccl.h"

namespace lockstep::comm {

/// Throws Fault::communication naming `call` and what NCCL last said of it.
void check_nccl(ncclResult_t result, const char* call, ncclComm_t comm = nullptr);

struct CommunicatorOptions {
  int min_ctas = 0, max_ctas = 0;  ///< 0: NCCL's own choice
  bool register_memory = true;
};

/// Owns one communicator. Aborting is allowed from any thread, once; afterwards nothing else may be called.
class Communicator {
 public:
  /// Collective: `id` is the same on every rank.
  Communicator(const ncclUniqueId& id, int rank, int ranks, const CommunicatorOptions& options);
  /// Collective: the same ranks again.
  Communicator(const Communicator& parent, const CommunicatorOptions& options);
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();

  [[nodiscard]] ncclComm_t get() const noexcept { return comm_; }
  /// Ends kernels that wait for peers.
  void abort() noexcept;
  /// What went wrong behind the calls' backs, or ncclSuccess.
  [[nodiscard]] ncclResult_t asynchronous_error() const noexcept;

 private:
  ncclComm_t comm_ = nullptr;
  mutable std::mutex mutex_;
  bool aborted_ = false;
};

}  // namespace lockstep::comm
