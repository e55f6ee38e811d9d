// Deadlines and failures on ranks as threads: whichever collective waits, the report names the ranks that did
// not come, and every rank's wait ends.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comm/transport/report.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

/// Runs one collective.
using Work = std::function<void(Collectives&, std::vector<float>&, Stream&)>;

struct Waiting {
  std::string name;    ///< of the test case
  std::string report;  ///< how the operation is called in reports
  Work work;
  std::string schedule = "ring";
};

std::vector<Waiting> waitings() {
  std::vector<Waiting> all = {
      {"barrier", "barrier (sequence 2, 2 bytes)",
       [](Collectives& c, auto&, Stream& stream) { c.barrier(stream); }},
      {"gather", "gather (sequence 2, 96 bytes)",
       [](Collectives& c, auto& data, Stream& stream) {
         const auto all_data = std::span(data);
         c.gather(flat(all_data.subspan(static_cast<std::size_t>(c.rank()) * 8, 8)), flat(all_data), stream);
       }},
      {"broadcast", "broadcast (sequence 2, 96 bytes)",
       [](Collectives& c, auto& data, Stream& stream) { c.broadcast(flat(std::span(data)), 1, stream); }},
      {"exchange", "exchange (sequence 2, 4 bytes)", [](Collectives& c, auto& data, Stream& stream) {
         const Send send{(c.rank() + 1) % c.size(), flat(std::span(data).first(1))};
         const Recv receive{(c.rank() + c.size() - 1) % c.size(), flat(std::span(data).last(1))};
         c.exchange({&send, 1}, {&receive, 1}, stream);
       }}};
  for (const auto& row : schedules().rows()) {
    const std::string name(row.name);
    const std::string report =
        std::string(schedule_named(name)->name()) + " (sequence 2, bucket 5, 96 bytes)";
    all.push_back(
        {"sum_by_" + name, report,
         [](Collectives& c, auto& data, Stream& stream) { c.sum(flat(std::span(data)), stream, 5); }, name});
  }
  return all;
}

/// What a run in which rank 1 of 3 stays away from the second operation throws.
std::string told(const std::string& schedule, const Work& work) {
  std::atomic<bool> over = false;
  std::atomic<int> ready = 0;
  try {
    run_ranks_as_threads(3, [&](World& world) {
      const auto collectives = make_collectives(world.transport(1.0), schedule_named(schedule));
      const auto stream = make_stream(Device{});
      std::vector<float> data(24, 1);
      collectives->sum(flat(std::span(data)), *stream);
      stream->synchronize();
      for (++ready; ready < 3;) std::this_thread::yield();  // all start to wait at the same time
      if (world.rank() == 1) {
        while (!over) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return;
      }
      try {
        work(*collectives, data, *stream);
        stream->synchronize();
      } catch (...) {
        over = true;
        throw;
      }
    });
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::communication);
    return error.what();
  }
  return "nothing was thrown";
}

class DeadlineOf : public testing::TestWithParam<Waiting> {};
INSTANTIATE_TEST_SUITE_P(Collectives, DeadlineOf, testing::ValuesIn(waitings()),
                         [](const auto& each) { return each.param.name; });

TEST_P(DeadlineOf, names_the_operation_and_the_rank_that_stayed_away) {
  const std::string what = told(GetParam().schedule, GetParam().work);
  EXPECT_EQ(what.find(GetParam().report), 0U) << what;
  EXPECT_NE(what.find("for rank 1: rank 1 has not come on from sequence 1"), std::string::npos) << what;
}

TEST(DeadlineReport, names_every_rank_that_is_missing) {
  const Operation operation{.name = "sum", .sequence = 4, .bytes = 8};
  Expired expired{0, operation, 2, {1}, std::vector<std::optional<Position>>(20)};
  for (const int present : {0, 3, 19}) {
    expired.positions[static_cast<std::size_t>(present)] = position_in(operation, true);
  }
  const auto missing = missing_ranks(expired);
  EXPECT_EQ(missing.size(), 17U);
  const std::string what = DeadlineExpired(expired).what();
  EXPECT_NE(
      what.find("for ranks 1, 2, 4, 5, 6, 7, 8, 9 and 9 more: rank 1 did not answer; rank 2 did not answer"),
      std::string::npos)
      << what;
  EXPECT_EQ(what.find("rank 10 did"), std::string::npos) << "only the first eight are told";
}

TEST(DeadlineReport, operation_without_bucket_does_not_name_one) {
  const Expired expired{2, {.name = "barrier", .sequence = 1, .bytes = 2}, 0.04, {0}, {}};
  EXPECT_STREQ(DeadlineExpired(expired).what(),
               "barrier (sequence 1, 2 bytes) waited 0.0 s on rank 2 for rank 0: "
               "rank 0 did not answer");
}

TEST(DeadlineReport, rank_past_its_part_and_rank_inside_are_told_apart) {
  const Operation mine{.name = "sum", .sequence = 4, .bytes = 8};
  const Expired expired{0, mine, 1, {1, 2}, {{}, position_in(mine, true), position_in(mine, false)}};
  const std::string what = DeadlineExpired(expired).what();
  EXPECT_NE(what.find("rank 1 is in the same operation; rank 2 is past its part of the same operation"),
            std::string::npos)
      << what;
}

TEST(DeadlineReport, position_holds_what_the_operation_says) {
  const Position position = position_in({.name = "ring", .sequence = 7, .bucket = 3, .bytes = 12}, true);
  EXPECT_STREQ(position.name.data(), "ring");
  EXPECT_EQ(position.sequence, 7);
  EXPECT_EQ(position.bucket, 3);
  EXPECT_EQ(position.inside, 1);
  EXPECT_EQ(position_in({}, false).inside, 0);
}

// ---- failures

TEST(FailureOfRanks, every_waiting_rank_is_freed_and_hears_the_first_failure) {
  for (const int failing : {0, 2, 4}) {
    std::mutex mutex;
    std::vector<std::string> heard;
    const auto body = [&](World& world) {
      const auto collectives = make_collectives(world.transport(60), schedule_named("ring"));
      const auto stream = make_stream(Device{});
      if (world.rank() == failing) throw Error(Fault::data, "sample 7 is damaged");
      std::vector<float> data(100);
      collectives->sum(flat(std::span(data)), *stream);
      try {
        stream->synchronize();
      } catch (const Error& error) {
        const std::lock_guard lock(mutex);
        heard.emplace_back(error.what());
        throw;
      }
    };
    try {
      run_ranks_as_threads(5, body);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "sample 7 is damaged");
    }
    EXPECT_EQ(heard, std::vector<std::string>(
                         4, "rank " + std::to_string(failing) + " failed: sample 7 is damaged"));
  }
}

TEST(FailureOfRanks, anything_thrown_frees_the_others_and_is_rethrown) {
  std::atomic<int> freed = 0;
  EXPECT_THROW(
      run_ranks_as_threads(3,
                           [&](World& world) {
                             Control control(make_collectives(world.transport(60), schedule_named("ring")));
                             if (world.rank() == 1) throw 7;
                             try {
                               control.barrier();
                             } catch (const Error& error) {
                               EXPECT_STREQ(error.what(), "rank 1 failed: an exception of unknown type");
                               ++freed;
                               throw;
                             }
                           }),
      int);
  EXPECT_EQ(freed, 2);
}

TEST(FailureOfRanks, a_world_after_a_failure_is_a_new_one) {
  EXPECT_THROW(run_ranks_as_threads(2, [](World&) { throw std::runtime_error("once"); }), std::runtime_error);
  run_ranks_as_threads(2, [](World& world) {
    Control control(make_collectives(world.transport(60), schedule_named("ring")));
    EXPECT_EQ(control.sum(1.0), 2.0);
  });
}

TEST(FailureOfRanks, message_on_a_device_or_to_a_rank_outside_is_refused_at_the_call) {
  run_ranks_as_threads(2, [](World& world) {
    const auto transport = world.transport(60);
    const auto stream = make_stream(Device{});
    const FlatSpan on_device{nullptr, 4, Dtype::f32, Device{DeviceKind::cuda, 0}};
    const Send far{0, on_device};
    try {
      transport->transfer({&far, 1}, {}, {}, *stream);
      ADD_FAILURE() << "taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::device);
    }
    std::vector<float> data(4);
    for (const int peer : {-1, 2}) {
      const Recv outside{peer, flat(std::span(data))};
      EXPECT_THROW(transport->transfer({}, {&outside, 1}, {}, *stream), Error) << peer;
    }
    EXPECT_NO_THROW(stream->synchronize());
  });
}

TEST(ThreadWorld, ranks_know_who_and_where_they_are) {
  std::vector<std::atomic<int>> seen(5);
  run_ranks_as_threads(5, [&](World& world) {
    ++seen[static_cast<std::size_t>(world.rank())];
    EXPECT_EQ(world.size(), 5);
    EXPECT_EQ(world.local_rank(), world.rank());
    EXPECT_EQ(world.local_size(), 5);
    EXPECT_EQ(world.description(), "threads");
    EXPECT_EQ(world.host(), this_host());
  });
  for (const auto& each : seen) EXPECT_EQ(each, 1);
}

TEST(SelfWorldDescription, is_one_rank_of_one) {
  const auto world = make_self_world();
  EXPECT_EQ(world->rank(), 0);
  EXPECT_EQ(world->size(), 1);
  EXPECT_EQ(world->local_size(), 1);
  EXPECT_EQ(world->description(), "self");
  EXPECT_FALSE(world->host().empty());
}

}  // namespace
}  // namespace lockstep::comm
