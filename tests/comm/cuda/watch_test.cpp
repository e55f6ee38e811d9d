// What becomes of a wait that NCCL would never end, on host streams.
#include "comm/nccl/watch.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <string>
#include <thread>

#include "core/error.h"
#include "tests/comm/cuda/fake_nccl.h"

namespace lockstep::comm {
namespace {

/// Two transports of one family; a stream that stands still between two points until all were aborted.
class NcclWatchTest : public testing::Test {
 protected:
  NcclWatchTest() { fake_nccl = &calls; }

  /// Stands still, and is told to the first watch. What then becomes of the stream.
  std::string stand_still() {
    const Event begin = stream->record();
    stream->host([this] { released.get_future().wait(); });
    const Event end = stream->record();
    first_watch.add(operation, begin, end, *stream);
    end.wait();
    try {
      stream->synchronize();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  FakeNccl calls;
  std::promise<void> released;  ///< as the kernels that wait are by an abort
  std::unique_ptr<Stream> stream = make_stream(Device{});
  std::shared_ptr<CommunicatorFamily> family = std::make_shared<CommunicatorFamily>();
  Communicator first{{}, 0, 2, {}}, second{{}, 0, 2, {}};
  static constexpr double kDeadline_s = 0.05;
  NcclWatch first_watch{first, family, nullptr, 0, kDeadline_s};
  NcclWatch second_watch{second, family, nullptr, 0, kDeadline_s};
  const Operation operation{"recorded work", 7, -1, 96};
};

/// A recorded step may be stuck in any of them, and NCCL waits in each abort for the graph.
TEST_F(NcclWatchTest, an_expired_wait_ends_all_of_the_family_at_once) {
  calls.in_abort = [&] {
    if (calls.aborted == 2) released.set_value();
    while (calls.aborted < 2) std::this_thread::yield();
  };
  const std::string told = stand_still();
  EXPECT_EQ(told.find("recorded work (sequence 7, 96 bytes) waited "), 0U) << told;
  EXPECT_TRUE(first.aborted());
  EXPECT_TRUE(second.aborted());
}

TEST_F(NcclWatchTest, more_may_be_enqueued_while_it_ends_them) {
  std::promise<void> aborting, added;
  const auto first_abort = std::make_shared<std::once_flag>();
  calls.in_abort = [&aborting, first_abort, go_on = added.get_future().share()] {
    std::call_once(*first_abort, [&] { aborting.set_value(); });
    go_on.wait();
  };
  std::thread enqueuer([&] {
    aborting.get_future().wait();
    for (NcclWatch* each : {&first_watch, &second_watch}) each->add(operation, {}, {}, *stream);
    added.set_value();
    released.set_value();
  });
  EXPECT_NE(stand_still(), "nothing was thrown");
  enqueuer.join();
}

TEST_F(NcclWatchTest, work_that_ends_in_time_is_let_be) {
  for (int i = 0; i < 3; ++i) {
    const Event begin = stream->record();
    first_watch.add(operation, begin, stream->record(), *stream);
    std::this_thread::sleep_for(std::chrono::duration<double>(kDeadline_s));
  }
  EXPECT_NO_THROW(stream->synchronize());
  EXPECT_EQ(calls.aborted, 0);
}

}  // namespace
}  // namespace lockstep::comm
