// Who may use a communicator that the watch has aborted: nobody, for NCCL has freed it. Over an NCCL that
// only counts calls, so no GPU is needed.
#include "comm/nccl/communicator.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"

namespace {

struct Calls {
  int destroyed = 0, aborted = 0, deregistered = 0;
} calls;
std::function<void()> meanwhile;  // in a call of ncclCommAbort
int communicator_of_nccl = 0;     // stands for what NCCL allocates

}  // namespace

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int, ncclUniqueId, int, ncclConfig_t*) {
  *comm = reinterpret_cast<ncclComm_t>(&communicator_of_nccl);
  return ncclSuccess;
}
ncclResult_t ncclCommSplit(ncclComm_t, int, int, ncclComm_t*, ncclConfig_t*) { return ncclSuccess; }
ncclResult_t ncclCommUserRank(const ncclComm_t, int*) { return ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t) { return ++calls.destroyed, ncclSuccess; }
ncclResult_t ncclCommAbort(ncclComm_t) {
  if (meanwhile) meanwhile();
  return ++calls.aborted, ncclSuccess;
}
ncclResult_t ncclCommWindowDeregister(ncclComm_t, ncclWindow_t) { return ++calls.deregistered, ncclSuccess; }
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) {
  return *error = ncclRemoteError, ncclSuccess;
}
ncclResult_t ncclGetVersion(int* version) { return *version = 0, ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t) { return ""; }
const char* ncclGetLastError(ncclComm_t) { return ""; }

namespace lockstep::comm {
namespace {

const auto kWindow = reinterpret_cast<ncclWindow_t>(&communicator_of_nccl);

TEST(Communicator, is_used_until_it_goes) {
  calls = {};
  {
    Communicator communicator({}, 0, 1, {});
    EXPECT_FALSE(communicator.aborted());
    EXPECT_NE(communicator.get(), nullptr);
    EXPECT_EQ(communicator.asynchronous_error(), ncclRemoteError);
    communicator.deregister(kWindow);
  }
  EXPECT_EQ(calls.deregistered, 1);
  EXPECT_EQ(calls.destroyed, 1);
  EXPECT_EQ(calls.aborted, 0);
}

TEST(Communicator, that_was_aborted_is_used_no_more) {
  calls = {};
  {
    Communicator communicator({}, 0, 1, {});
    communicator.abort();
    communicator.abort();
    EXPECT_TRUE(communicator.aborted());
    EXPECT_THROW(static_cast<void>(communicator.get()), Error);
    EXPECT_EQ(communicator.asynchronous_error(), ncclSuccess);
    communicator.deregister(kWindow);  // as memory does that was lent before
  }
  EXPECT_EQ(calls.aborted, 1);
  EXPECT_EQ(calls.deregistered, 0);
  EXPECT_EQ(calls.destroyed, 0);
}

/// NCCL waits in it for the graphs that use the communicator, and whoever holds these must get on.
TEST(Communicator, that_is_being_aborted_keeps_nobody_waiting) {
  calls = {};
  Communicator communicator({}, 0, 1, {});
  meanwhile = [&] {
    EXPECT_TRUE(communicator.aborted());
    EXPECT_THROW(static_cast<void>(communicator.get()), Error);
    communicator.deregister(kWindow);
  };
  communicator.abort();
  meanwhile = nullptr;
  EXPECT_EQ(calls.aborted, 1);
  EXPECT_EQ(calls.deregistered, 0);
}

}  // namespace
}  // namespace lockstep::comm
