// Deadlines of any length: "never" by a huge number is no time that passed long ago, and none at all expires
// at once, also where the peers are there.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/transport/host_transport.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

TEST(DeadlineLength, a_long_one_has_not_passed_however_long) {
  for (const double seconds : {1.0, 1e9, 1e10, 1e12, 1e18, 1e300, std::numeric_limits<double>::max()}) {
    const Deadline deadline(seconds);
    EXPECT_FALSE(deadline.expired()) << seconds;
    EXPECT_GT(deadline.end(), Deadline::Clock::now()) << seconds;
  }
}

TEST(DeadlineLength, a_longer_one_never_ends_before_a_shorter) {
  double before = 0;
  for (const double seconds : {0.0, 1e-9, 1.0, 1e3, 1e8, 1e9, 1e10, 1e300}) {
    const Deadline deadline(seconds);
    const double left = std::chrono::duration<double>(deadline.end() - Deadline::Clock::now()).count();
    EXPECT_GE(left, before - 1) << seconds;
    before = left;
  }
}

TEST(DeadlineLength, none_at_all_has_passed) {  // negative control
  for (const double seconds : {0.0, -1.0, -1e9}) {
    const Deadline deadline(seconds);
    EXPECT_TRUE(deadline.expired()) << seconds;
    EXPECT_GE(deadline.waited_s(), 0);
  }
}

class LongDeadline : public testing::TestWithParam<int> {};

TEST_P(LongDeadline, lets_ranks_meet_and_sum) {
  run_ranks_as_threads(GetParam(), [&](World& world) {
    const auto collectives = make_collectives(
        world.transport(1e300), schedules().create("ring", Options::of(schedules().row("ring").settings)));
    const auto stream = make_stream({}, {.name = "long"});
    std::vector<float> data(7, static_cast<float>(world.rank() + 1));
    collectives->sum(flat(std::span(data)), *stream);
    collectives->barrier(*stream);
    stream->synchronize();
    const int ranks = world.size();
    for (const float each : data) EXPECT_EQ(each, static_cast<float>(ranks * (ranks + 1) / 2));
  });
}
INSTANTIATE_TEST_SUITE_P(ranks, LongDeadline, testing::Values(1, 2, 3, 5));

}  // namespace
}  // namespace lockstep::comm
