// Who may use a communicator that has been aborted: nobody, for NCCL has freed it.
#include "comm/nccl/communicator.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/comm/cuda/fake_nccl.h"

namespace lockstep::comm {
namespace {

class CommunicatorTest : public testing::Test {
 protected:
  void SetUp() override { fake_nccl = &calls; }
  static ncclWindow_t window() { return reinterpret_cast<ncclWindow_t>(fake_nccl); }
  FakeNccl calls;
};

TEST_F(CommunicatorTest, is_used_until_it_goes) {
  {
    Communicator communicator({}, 0, 1, {});
    EXPECT_FALSE(communicator.aborted());
    EXPECT_NE(communicator.get(), nullptr);
    communicator.deregister(window());
  }
  EXPECT_EQ(calls.deregistered, 1);
  EXPECT_EQ(calls.destroyed, 1);
  EXPECT_EQ(calls.aborted, 0);
}

TEST_F(CommunicatorTest, that_was_aborted_is_used_no_more) {
  {
    Communicator communicator({}, 0, 1, {});
    communicator.abort();
    communicator.abort();
    EXPECT_TRUE(communicator.aborted());
    EXPECT_THROW(static_cast<void>(communicator.get()), Error);
    communicator.deregister(window());  // as memory does that was lent before
  }
  EXPECT_EQ(calls.aborted, 1);
  EXPECT_EQ(calls.deregistered, 0);
  EXPECT_EQ(calls.destroyed, 0);
}

/// NCCL waits in it for the graphs that use the communicator, and whoever holds these must get on.
TEST_F(CommunicatorTest, that_is_being_aborted_keeps_nobody_waiting) {
  Communicator communicator({}, 0, 1, {});
  calls.in_abort = [&] {
    EXPECT_TRUE(communicator.aborted());
    EXPECT_THROW(static_cast<void>(communicator.get()), Error);
    communicator.deregister(window());
  };
  communicator.abort();
  EXPECT_EQ(calls.aborted, 1);
  EXPECT_EQ(calls.deregistered, 0);
}

}  // namespace
}  // namespace lockstep::comm
