#include "core/hold.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace lockstep {
namespace {

TEST(Hold, work_begins_when_it_ends) {
  const auto stream = make_stream(Device{}, {.name = "test", .threads = 1});
  std::atomic<int> done = 0;
  {
    const Hold hold(*stream);
    for (int i = 0; i < 3; ++i) stream->host([&done] { ++done; });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(done, 0);
  }
  stream->synchronize();
  EXPECT_EQ(done, 3);
}

}  // namespace
}  // namespace lockstep
