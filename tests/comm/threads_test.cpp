// Ranks as threads: conformance, deadlines, and failures that end everybody.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "comm/collectives.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/conformance.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Threads : public ::testing::TestWithParam<int> {};

TEST_P(Threads, transport_conforms) { run_ranks_as_threads(GetParam(), conformance::transport); }
TEST_P(Threads, collectives_conform) { run_ranks_as_threads(GetParam(), conformance::movement); }
TEST_P(Threads, every_schedule_sums) {
  for (const auto& row : schedules().rows()) {
    SCOPED_TRACE(row.name);
    run_ranks_as_threads(GetParam(), [&](World& world) { conformance::sums(world, row.name); });
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, Threads, ::testing::Values(1, 2, 3, 4, 8));

TEST(SelfWorld, conforms) {
  const auto world = make_self_world();
  conformance::transport(*world);
  conformance::movement(*world);
  conformance::sums(*world, "ring");
}

TEST(SelfWorld, unmatched_message_to_itself_is_refused) {
  const auto transport = make_self_world()->transport(1);
  const auto stream = make_stream(Device{});
  float value = 1;
  const Send send{0, flat(std::span(&value, 1))};
  transport->transfer({&send, 1}, {}, {.name = "lone"}, *stream);
  EXPECT_THROW(stream->synchronize(), Error);
}

TEST(Transport, rank_outside_is_refused_at_the_door) {
  const auto transport = make_self_world()->transport(1);
  const auto stream = make_stream(Device{});
  float value = 1;
  const Send send{1, flat(std::span(&value, 1))};
  EXPECT_THROW(transport->transfer({&send, 1}, {}, {}, *stream), Error);
}

/// Runs `body`; what it threw.
Error failure_of(int ranks, const std::function<void(World&)>& body) {
  try {
    run_ranks_as_threads(ranks, body);
  } catch (const Error& error) {
    return error;
  }
  return {Fault::internal, "nothing was thrown"};
}

/// Sums twice; before the second time rank `late` stays away until `release` (or does not, when it is -1).
void sum_twice(World& world, int late, double deadline_s, const std::atomic<bool>& release) {
  const auto collectives =
      make_collectives(world.transport(deadline_s), conformance::schedule_called("ring"));
  const auto stream = make_stream(Device{});
  std::vector<float> data(1000, 1);
  collectives->sum(flat(std::span(data)), *stream, 7);
  stream->synchronize();
  while (world.rank() == late && !release) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  collectives->sum(flat(std::span(data)), *stream, 8);
  stream->synchronize();
}

TEST(Deadline, late_rank_is_named_with_operation_sequence_bucket_bytes_and_seconds) {
  for (const int ranks : {2, 3, 4}) {
    std::atomic<bool> release = false;
    const auto begin = Clock::now();
    const Error error = failure_of(ranks, [&](World& world) {
      try {
        sum_twice(world, ranks - 1, 1.0, release);
      } catch (...) {
        release = true;  // the late one comes too late
        throw;
      }
    });
    const std::string what = error.what();
    EXPECT_EQ(error.fault(), Fault::communication);
    EXPECT_NE(what.find("ring all-reduce (sequence 2, bucket 8, 4000 bytes)"), std::string::npos) << what;
    EXPECT_NE(what.find("waited 1."), std::string::npos) << what;
    EXPECT_NE(what.find("for rank " + std::to_string(ranks - 1) + ": rank " + std::to_string(ranks - 1) +
                        " has not come on from sequence 1 in ring all-reduce"),
              std::string::npos)
        << what;
    EXPECT_LT(seconds_since(begin), 20);
  }
}

TEST(Deadline, all_present_report_nothing) {
  const std::atomic<bool> release = true;
  for (const int ranks : {1, 2, 3, 4}) {
    EXPECT_NO_THROW(run_ranks_as_threads(ranks, [&](World& world) { sum_twice(world, -1, 60, release); }));
  }
}

TEST(Deadline, other_operation_at_the_same_sequence_is_told) {
  const Error error = failure_of(2, [](World& world) {
    const auto collectives = make_collectives(world.transport(1.0), conformance::schedule_called("ring"));
    const auto stream = make_stream(Device{});
    std::vector<float> data(8, 1);
    if (world.rank() == 0) {
      collectives->broadcast(flat(std::span(data)), 1, *stream);
    } else {
      collectives->gather(flat(std::span(data).first(4)), flat(std::span(data)), *stream);
    }
    stream->synchronize();
  });
  // Rank 0 receives 32 bytes where rank 1 sends 16, or both wait: either way the mismatch is named.
  const std::string what = error.what();
  EXPECT_TRUE(what.find("sent 16 bytes where rank 0 expects 32") != std::string::npos ||
              what.find("another operation") != std::string::npos)
      << what;
}

TEST(Failure, rank_that_throws_ends_the_waits_of_the_others_and_is_the_one_told) {
  const auto begin = Clock::now();
  const Error error = failure_of(4, [](World& world) {
    const auto collectives = make_collectives(world.transport(60), conformance::schedule_called("ring"));
    const auto stream = make_stream(Device{});
    if (world.rank() == 2) throw Error(Fault::data, "label 12 is out of range", "use 12 classes");
    collectives->barrier(*stream);
    stream->synchronize();
  });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_STREQ(error.what(), "label 12 is out of range");
  EXPECT_EQ(error.hint(), "use 12 classes");
  EXPECT_LT(seconds_since(begin), 10);
}

TEST(Failure, others_hear_why) {
  std::mutex mutex;
  std::string heard;
  const Error error = failure_of(2, [&](World& world) {
    const auto transport = world.transport(60);
    const auto stream = make_stream(Device{});
    if (world.rank() == 0) throw Error(Fault::device, "out of memory");
    float value = 0;
    const Recv receive{0, flat(std::span(&value, 1))};
    transport->transfer({}, {&receive, 1}, {.name = "wait"}, *stream);
    try {
      stream->synchronize();
    } catch (const Error& echo) {
      const std::lock_guard lock(mutex);
      heard = echo.what();
      throw;
    }
  });
  EXPECT_EQ(error.fault(), Fault::device);
  EXPECT_EQ(heard, "rank 0 failed: out of memory");
}

TEST(Failure, lowest_rank_among_root_causes_is_told) {
  const auto body = [](World& world) {
    if (world.rank() >= 1) throw std::runtime_error("rank " + std::to_string(world.rank()));
  };
  try {
    run_ranks_as_threads(3, body);
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "rank 1");
  }
}

TEST(Failure, rank_that_returned_early_is_named_at_once) {
  const auto begin = Clock::now();
  const Error error = failure_of(2, [](World& world) {
    const auto transport = world.transport(60);
    const auto stream = make_stream(Device{});
    float value = 0;
    const Recv receive{1, flat(std::span(&value, 1))};
    if (world.rank() == 0) transport->transfer({}, {&receive, 1}, {.name = "wait"}, *stream);
    stream->synchronize();
  });
  EXPECT_NE(std::string(error.what()).find("rank 1 has ended"), std::string::npos) << error.what();
  EXPECT_LT(seconds_since(begin), 10);
}

TEST(Failure, sizes_that_differ_are_named) {
  const Error error = failure_of(2, [](World& world) {
    const auto transport = world.transport(60);
    const auto stream = make_stream(Device{});
    std::vector<float> data(4);
    const Send send{1, flat(std::span(data).first(2))};
    const Recv receive{0, flat(std::span(data))};
    if (world.rank() == 0) transport->transfer({&send, 1}, {}, {.name = "wait"}, *stream);
    if (world.rank() == 1) transport->transfer({}, {&receive, 1}, {.name = "wait"}, *stream);
    stream->synchronize();
  });
  EXPECT_NE(std::string(error.what()).find("rank 0 sent 8 bytes where rank 1 expects 16"), std::string::npos)
      << error.what();
}

TEST(Collectives, gather_into_a_wrong_size_is_refused) {
  const auto collectives =
      make_collectives(make_self_world()->transport(1), conformance::schedule_called("ring"));
  const auto stream = make_stream(Device{});
  std::vector<float> mine(4), all(5);
  EXPECT_THROW(collectives->gather(flat(std::span(mine)), flat(std::span(all)), *stream), Error);
}

TEST(Collectives, gather_in_place_keeps_the_block) {
  run_ranks_as_threads(3, [](World& world) {
    const auto collectives = make_collectives(world.transport(60), conformance::schedule_called("ring"));
    const auto stream = make_stream(Device{});
    std::vector<float> all(6, -1);
    const auto mine = std::span(all).subspan(static_cast<std::size_t>(world.rank()) * 2, 2);
    std::fill(mine.begin(), mine.end(), static_cast<float>(world.rank()));
    collectives->gather(flat(mine), flat(std::span(all)), *stream);
    stream->synchronize();
    EXPECT_EQ(all, (std::vector<float>{0, 0, 1, 1, 2, 2}));
  });
}

TEST(Collectives, barrier_ends_nowhere_before_it_began_everywhere) {
  std::atomic<int> begun = 0;
  run_ranks_as_threads(4, [&](World& world) {
    const auto collectives = make_collectives(world.transport(60), conformance::schedule_called("ring"));
    const auto stream = make_stream(Device{});
    for (int round = 1; round <= 20; ++round) {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * ((world.rank() + round) % 4)));
      ++begun;
      collectives->barrier(*stream);
      stream->synchronize();
      EXPECT_GE(begun.load(), 4 * round);
    }
  });
}

TEST(Collectives, duplicate_works_beside_the_first) {
  run_ranks_as_threads(3, [](World& world) {
    const auto first = make_collectives(world.transport(60), conformance::schedule_called("ring"));
    const auto second = first->duplicate();
    const auto stream_a = make_stream(Device{});
    const auto stream_b = make_stream(Device{});
    std::vector<float> a(5000, 1), b(5000, 2);
    for (int i = 0; i < 5; ++i) {
      first->sum(flat(std::span(a)), *stream_a);
      second->sum(flat(std::span(b)), *stream_b);
    }
    stream_a->synchronize();
    stream_b->synchronize();
    EXPECT_EQ(a[4999], 243);
    EXPECT_EQ(b[0], 486);
  });
}

TEST(Collectives, sums_of_growing_size_without_waiting_keep_their_scratch) {
  run_ranks_as_threads(2, [](World& world) {
    const auto collectives =
        make_collectives(world.transport(60), conformance::schedule_called("recursive_doubling"));
    const auto stream = make_stream(Device{});
    std::vector<std::vector<float>> arrays;
    for (std::size_t size = 1; size < 100'000; size *= 3) arrays.emplace_back(size, static_cast<float>(size));
    for (auto& array : arrays) collectives->sum(flat(std::span(array)), *stream);
    stream->synchronize();
    for (const auto& array : arrays) EXPECT_EQ(array.back(), 2.0f * static_cast<float>(array.size()));
  });
}

}  // namespace
}  // namespace lockstep::comm
