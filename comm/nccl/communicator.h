// An NCCL communicator with the checks around it. Includes nccl.h: for .cpp files of this folder only.
#pragma once

#include <nccl.h>

#include <atomic>
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

/// Owns one communicator. It may be aborted from any thread; what would use it afterwards is refused or left
/// out, because it is freed then.
class Communicator {
 public:
  /// Collective: `id` is the same on every rank.
  Communicator(const ncclUniqueId& id, int rank, int ranks, const CommunicatorOptions& options);
  /// Collective: the same ranks again.
  Communicator(const Communicator& parent, const CommunicatorOptions& options);
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator();

  /// Throws where it was aborted.
  [[nodiscard]] ncclComm_t get() const;
  [[nodiscard]] bool aborted() const noexcept { return aborted_; }
  /// Ends kernels that wait for peers. May block until graphs that use it are gone: nobody else waits for it.
  void abort() noexcept;
  /// Takes memory out of its windows; aborting has done so.
  void deregister(ncclWindow_t window) noexcept;
  /// What went wrong behind the calls' backs, or ncclSuccess.
  [[nodiscard]] ncclResult_t asynchronous_error() const noexcept;

 private:
  ncclComm_t comm_ = nullptr;
  mutable std::mutex mutex_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace lockstep::comm
