// Streams among many: random graphs of work keep every order that events ask for, failures spread along
// events and nowhere else, and any thread may enqueue, wait and look.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/event_state.h"
#include "core/stream.h"

namespace lockstep {
namespace {

using namespace std::chrono_literals;

std::vector<std::unique_ptr<Stream>> streams(std::size_t count) {
  std::vector<std::unique_ptr<Stream>> all;
  for (std::size_t i = 0; i < count; ++i)
    all.push_back(make_stream(Device{}, {.name = "s" + std::to_string(i)}));
  return all;
}

std::string failure_of(Stream& stream) {
  try {
    stream.synchronize();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StreamGraph, work_starts_after_everything_its_events_stand_for) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const auto all = streams(4);
    constexpr std::size_t kTasks = 120;
    std::vector<std::atomic<bool>> done(kTasks);
    std::vector<std::size_t> broken;
    std::mutex mutex;
    struct Made {
      Event event;
      std::size_t last;
    };
    std::vector<Made> made;
    std::array<std::vector<std::size_t>, 4> needed;  // by stream: tasks that must be done before its next one
    for (std::size_t task = 0; task < kTasks; ++task) {
      const std::size_t at = random() % 4;
      if (!made.empty() && random() % 2 == 0) {
        const Made& other = made[random() % made.size()];
        all[at]->wait(other.event);
        needed[at].push_back(other.last);
      }
      all[at]->host([&, task, before = needed[at]] {
        for (const std::size_t each : before) {
          if (!done[each]) {
            const std::lock_guard lock(mutex);
            broken.push_back(task);
          }
        }
        done[task] = true;
      });
      needed[at].push_back(task);
      made.push_back({all[at]->record(), task});
    }
    for (const auto& stream : all) stream->synchronize();
    EXPECT_TRUE(broken.empty()) << "seed " << seed;
    EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](const auto& each) { return each.load(); }));
  }
}

TEST(StreamGraph, failure_follows_events_and_spares_the_rest) {
  const auto all = streams(5);
  std::array<std::atomic<int>, 5> ran{};
  const Event before = all[0]->record();
  all[0]->host([] { throw Error(Fault::device, "the first one failed"); });
  const Event after = all[0]->record();
  all[1]->wait(after);             // hit
  all[2]->wait(before);            // spared: the point lies before the failure
  all[3]->wait(all[1]->record());  // hit through the second
  for (std::size_t i = 0; i < 5; ++i) all[i]->host([&ran, i] { ++ran[i]; });
  for (const std::size_t hit : {0U, 1U, 3U}) {
    EXPECT_EQ(failure_of(*all[hit]), "the first one failed") << hit;
    EXPECT_EQ(ran[hit], 0) << hit;
  }
  for (const std::size_t spared : {2U, 4U}) {
    EXPECT_EQ(failure_of(*all[spared]), "") << spared;
    EXPECT_EQ(ran[spared], 1) << spared;
  }
}

TEST(StreamGraph, a_stream_keeps_its_own_failure_over_one_that_arrives_later) {
  const auto all = streams(2);
  all[0]->host([] { throw Error(Fault::internal, "own"); });
  all[1]->host([] { throw Error(Fault::internal, "other"); });
  all[0]->wait(all[1]->record());
  EXPECT_EQ(failure_of(*all[0]), "own");
  EXPECT_EQ(failure_of(*all[1]), "other");
}

TEST(StreamGraph, two_failures_meet_in_the_order_of_the_waits) {
  const auto all = streams(3);
  for (const int i : {0, 1}) {
    all[static_cast<std::size_t>(i)]->host([i] { throw Error(Fault::internal, std::to_string(i)); });
  }
  all[2]->wait(all[1]->record());
  all[2]->wait(all[0]->record());
  EXPECT_EQ(failure_of(*all[2]), "1");
}

TEST(StreamGraph, event_outlives_its_stream) {
  Event event;
  {
    const auto stream = make_stream(Device{});
    stream->host([] { std::this_thread::sleep_for(5ms); });
    event = stream->record();
  }
  EXPECT_TRUE(event.complete());
  event.wait();
  const auto other = make_stream(Device{});
  other->wait(event);
  EXPECT_EQ(failure_of(*other), "");
}

TEST(StreamGraph, event_of_a_dead_failed_stream_still_tells) {
  Event event;
  {
    const auto stream = make_stream(Device{});
    stream->host([] { throw Error(Fault::data, "gone but not forgotten"); });
    event = stream->record();
  }
  event.wait();  // does not throw
  const auto other = make_stream(Device{});
  other->wait(event);
  EXPECT_EQ(failure_of(*other), "gone but not forgotten");
}

/// An event of a device that is gone: nothing can be learned of it any more.
struct GoneEvent final : Event::State {
  [[nodiscard]] bool complete() const override { return false; }
  void wait() const override { throw Error(Fault::device, "the device is gone"); }
  [[nodiscard]] std::shared_ptr<const Error> failure() const override { return nullptr; }
};

TEST(StreamGraph, a_wait_that_throws_fails_the_stream) {
  const auto waiting = make_stream(Device{}), behind = make_stream(Device{});
  bool ran = false;
  waiting->wait(Event(std::make_shared<GoneEvent>()));
  waiting->host([&ran] { ran = true; });
  behind->wait(waiting->record());
  EXPECT_EQ(failure_of(*behind), "the device is gone");
  EXPECT_EQ(failure_of(*waiting), "the device is gone");
  EXPECT_FALSE(ran);
}

TEST(StreamGraph, many_threads_wait_for_one_event_and_copies_are_the_same_point) {
  const auto stream = make_stream(Device{});
  std::atomic<bool> open = false;
  std::atomic<int> early = 0;
  std::atomic<bool> ran = false;
  stream->host([&] {
    open.wait(false);
    ran = true;
  });
  const Event event = stream->record();
  std::vector<std::jthread> waiters;
  for (int i = 0; i < 8; ++i) {
    waiters.emplace_back([copy = event, &early, &ran] {
      copy.wait();
      early += ran && copy.complete() ? 0 : 1;
    });
  }
  EXPECT_FALSE(event.complete());
  open = true;
  open.notify_all();
  waiters.clear();
  EXPECT_EQ(early, 0);
}

TEST(StreamGraph, each_thread_keeps_its_own_order_on_a_shared_stream) {
  const auto stream = make_stream(Device{});
  constexpr int kThreads = 6;
  constexpr int kEach = 500;
  std::array<int, kThreads> last{};
  last.fill(-1);
  int wrong = 0;  // only the worker touches these
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          stream->host([&, t, i] {
            wrong += last[t] == i - 1 ? 0 : 1;
            last[t] = i;
          });
          if (i % 100 == 0) stream->record().wait();
        }
      });
    }
  }
  stream->synchronize();
  EXPECT_EQ(wrong, 0);
  for (const int each : last) EXPECT_EQ(each, kEach - 1);
}

TEST(StreamGraph, synchronize_waits_for_what_other_threads_enqueued_before) {
  const auto stream = make_stream(Device{});
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> ran = 0;
    std::jthread([&] {
      for (int i = 0; i < 10; ++i) stream->host([&ran] { ++ran; });
    }).join();
    stream->synchronize();
    ASSERT_EQ(ran, 10);
  }
}

TEST(StreamGraph, hundreds_of_streams_live_and_die) {
  std::atomic<int> ran = 0;
  for (int round = 0; round < 5; ++round) {
    const auto all = streams(60);
    for (std::size_t i = 1; i < all.size(); ++i) {
      all[i - 1]->host([&ran] { ++ran; });
      all[i]->wait(all[i - 1]->record());
    }
    all.back()->host([&ran] { ++ran; });
    if (round % 2 == 0) all.back()->synchronize();
  }
  EXPECT_EQ(ran, 5 * 60);
}

TEST(StreamGraph, work_may_throw_from_any_depth_and_the_next_stream_is_unharmed) {
  for (int i = 0; i < 30; ++i) {
    const auto bad = make_stream(Device{});
    bad->host([i] {
      if (i % 2 == 0) throw Error(Fault::diverged, "loss is nan", "lower the rate");
      throw std::runtime_error("odd");
    });
    const std::string what = failure_of(*bad);
    EXPECT_EQ(what, i % 2 == 0 ? "loss is nan" : "unexpected exception in stream work: odd");
    const auto good = make_stream(Device{});
    int ran = 0;
    good->host([&ran] { ++ran; });
    good->synchronize();
    EXPECT_EQ(ran, 1);
  }
}

}  // namespace
}  // namespace lockstep
