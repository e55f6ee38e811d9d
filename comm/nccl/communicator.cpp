#include "comm/nccl/communicator.h"

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::comm {

namespace {

ncclConfig_t config_of(const CommunicatorOptions& options) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 1;
  if (options.min_ctas > 0) config.minCTAs = options.min_ctas;
  if (options.max_ctas > 0) config.maxCTAs = options.max_ctas;
  return config;
}

}  // namespace

void check_nccl(ncclResult_t result, const char* call, ncclComm_t comm) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* more = ncclGetLastError(comm);
  throw Error(Fault::communication,
              fmt::format("{} failed: {}{}{}", call, ncclGetErrorString(result),
                          more != nullptr && *more != 0 ? ": " : "", more != nullptr ? more : ""),
              "run once with NCCL_DEBUG=INFO to see what NCCL found; two ranks on one GPU are not possible");
}

Communicator::Communicator(const ncclUniqueId& id, int rank, int ranks, const CommunicatorOptions& options) {
  ncclConfig_t config = config_of(options);
  check_nccl(ncclCommInitRankConfig(&comm_, ranks, id, rank, &config), "ncclCommInitRank");
}

Communicator::Communicator(const Communicator& parent, const CommunicatorOptions& options) {
  ncclConfig_t config = config_of(options);
  int rank = 0;
  check_nccl(ncclCommUserRank(parent.comm_, &rank), "ncclCommUserRank");
  check_nccl(ncclCommSplit(parent.comm_, 0, rank, &comm_, &config), "ncclCommSplit", parent.comm_);
}

Communicator::~Communicator() {
  const std::lock_guard lock(mutex_);
  if (!aborted_ && comm_ != nullptr) ncclCommDestroy(comm_);
}

ncclComm_t Communicator::get() const {
  if (aborted_) throw Error(Fault::communication, "NCCL was given up after a wait that expired or an error");
  return comm_;
}

void Communicator::deregister(ncclWindow_t window) noexcept {
  if (!aborted_) static_cast<void>(ncclCommWindowDeregister(comm_, window));
}

void Communicator::abort() noexcept {
  if (aborted_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  ncclCommAbort(comm_);
}

ncclResult_t Communicator::asynchronous_error() const noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || aborted_) return ncclSuccess;
  ncclResult_t error = ncclSuccess;
  if (ncclCommGetAsyncError(comm_, &error) != ncclSuccess) return ncclInternalError;
  return error == ncclInProgress ? ncclSuccess : error;
}

std::string nccl_version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "unknown";
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace lockstep::comm
