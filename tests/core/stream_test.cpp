#include "core/stream.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/threads.h"

namespace lockstep {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Stream> host_stream(const std::string& name = "test", int threads = 1) {
  return make_stream(Device{}, {.name = name, .threads = threads});
}

/// A gate that stream work waits at until the test opens it.
class Gate {
 public:
  void open() {
    open_ = true;
    open_.notify_all();
  }
  void pass() const { open_.wait(false); }

 private:
  std::atomic<bool> open_ = false;
};

std::string synchronize_error(Stream& stream) {
  try {
    stream.synchronize();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Stream, work_runs_in_the_order_it_was_enqueued) {
  const auto stream = host_stream();
  std::vector<int> order;
  for (int i = 0; i < 10'000; ++i) stream->host([&order, i] { order.push_back(i); });
  stream->synchronize();
  std::vector<int> expected(10'000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(Stream, host_returns_before_the_work_has_run) {
  const auto stream = host_stream();
  Gate gate;
  bool ran = false;
  stream->host([&] {
    gate.pass();
    ran = true;
  });
  const Event after = stream->record();
  EXPECT_FALSE(after.complete());
  gate.open();
  after.wait();
  EXPECT_TRUE(after.complete());
  EXPECT_TRUE(ran);
}

TEST(Stream, device_is_the_one_it_was_made_for) { EXPECT_EQ(host_stream()->device(), Device{}); }

TEST(Stream, destructor_runs_what_was_enqueued) {
  int ran = 0;
  {
    const auto stream = host_stream();
    for (int i = 0; i < 1000; ++i) stream->host([&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 1000);
}

TEST(Stream, work_may_enqueue_more_work_on_its_own_stream) {
  int ran = 0;
  {
    const auto stream = host_stream();
    stream->host([&, own = stream.get()] { own->host([&] { ++ran; }); });
  }
  EXPECT_EQ(ran, 1);
}

TEST(Stream, several_threads_may_enqueue_at_once) {
  const auto stream = host_stream();
  std::array<int, 3> counts{};
  std::vector<std::thread> threads;
  for (int& count : counts) {
    threads.emplace_back([&count, &stream] {
      for (int i = 0; i < 2000; ++i) stream->host([&count] { ++count; });
    });
  }
  for (auto& thread : threads) thread.join();
  stream->synchronize();
  EXPECT_EQ(counts, (std::array<int, 3>{2000, 2000, 2000}));
}

TEST(Stream, captured_values_are_released_when_the_work_has_run) {
  const auto stream = host_stream();
  auto value = std::make_shared<int>(1);
  stream->host([value] {});
  stream->synchronize();
  EXPECT_EQ(value.use_count(), 1);
}

TEST(Stream, synchronize_from_its_own_work_is_refused) {
  const auto stream = host_stream("own");
  stream->host([own = stream.get()] { own->synchronize(); });
  EXPECT_EQ(synchronize_error(*stream), "stream 'own' was synchronized from its own work");
}

TEST(Stream, default_event_is_complete_and_may_be_waited_for) {
  const Event event;
  EXPECT_TRUE(event.complete());
  event.wait();
  const auto stream = host_stream();
  stream->wait(event);
  stream->synchronize();
}

TEST(Stream, waiting_stream_starts_after_the_event) {
  const auto producer = host_stream("producer");
  const auto consumer = host_stream("consumer");
  int value = 0;
  int seen = -1;
  producer->host([&] {
    std::this_thread::sleep_for(20ms);
    value = 42;
  });
  consumer->wait(producer->record());
  consumer->host([&] { seen = value; });
  consumer->synchronize();
  EXPECT_EQ(seen, 42);
}

TEST(Stream, two_streams_hand_work_back_and_forth) {
  const auto left = host_stream("left");
  const auto right = host_stream("right");
  std::int64_t value = 0;  // no lock: events order every access
  for (int i = 0; i < 2000; ++i) {
    left->host([&] { value += 1; });
    right->wait(left->record());
    right->host([&] { value *= 3, value %= 1'000'003; });
    left->wait(right->record());
  }
  left->synchronize();
  std::int64_t expected = 0;
  for (int i = 0; i < 2000; ++i) expected = (expected + 1) * 3 % 1'000'003;
  EXPECT_EQ(value, expected);
}

TEST(Stream, waited_seconds_count_only_blocked_time) {
  const auto producer = host_stream("producer");
  const auto consumer = host_stream("consumer");
  EXPECT_EQ(consumer->waited_s(), 0.0);
  producer->host([] { std::this_thread::sleep_for(50ms); });
  consumer->wait(producer->record());
  consumer->synchronize();
  EXPECT_GE(consumer->waited_s(), 0.030);
  EXPECT_LT(consumer->waited_s(), 20.0);
  EXPECT_EQ(producer->waited_s(), 0.0);

  const double before = consumer->waited_s();
  const Event passed = producer->record();
  passed.wait();
  consumer->wait(passed);
  consumer->synchronize();
  EXPECT_EQ(consumer->waited_s(), before);
}

TEST(Stream, failure_skips_later_work_and_is_rethrown_every_time) {
  const auto stream = host_stream();
  bool ran = false;
  stream->host([] { throw Error(Fault::data, "record 7 is broken", "import it again"); });
  stream->host([] { throw Error(Fault::internal, "a second failure"); });
  stream->host([&ran] { ran = true; });
  const Event after = stream->record();
  after.wait();
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      stream->synchronize();
      FAIL() << "synchronize must throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::data);
      EXPECT_STREQ(error.what(), "record 7 is broken");
      EXPECT_EQ(error.hint(), "import it again");
    }
  }
  EXPECT_FALSE(ran);
}

TEST(Stream, failure_reaches_streams_that_wait_for_it) {
  const auto first = host_stream("first");
  const auto second = host_stream("second");
  const auto third = host_stream("third");
  bool ran = false;
  first->host([] { throw Error(Fault::communication, "rank 3 is gone"); });
  second->wait(first->record());
  second->host([&ran] { ran = true; });
  third->wait(second->record());
  EXPECT_EQ(synchronize_error(*third), "rank 3 is gone");
  EXPECT_EQ(synchronize_error(*second), "rank 3 is gone");
  EXPECT_FALSE(ran);
}

TEST(Stream, event_before_the_failure_does_not_carry_it) {
  const auto failing = host_stream("failing");
  const auto waiting = host_stream("waiting");
  const Event before = failing->record();
  failing->host([] { throw Error(Fault::internal, "late"); });
  failing->record().wait();
  waiting->wait(before);
  EXPECT_NO_THROW(waiting->synchronize());
}

TEST(Stream, failed_stream_still_waits_for_the_others) {
  const auto failed = host_stream("failed");
  const auto other = host_stream("other");
  bool done = false;
  failed->host([] { throw Error(Fault::internal, "early"); });
  other->host([&done] {
    std::this_thread::sleep_for(20ms);
    done = true;
  });
  failed->wait(other->record());
  EXPECT_EQ(synchronize_error(*failed), "early");
  EXPECT_TRUE(done);  // its memory may be freed now
}

TEST(Stream, foreign_exceptions_become_errors) {
  const auto logic = host_stream();
  logic->host([] { throw std::runtime_error("boom"); });
  EXPECT_EQ(synchronize_error(*logic), "unexpected exception in stream work: boom");
  const auto memory = host_stream();
  memory->host([] { throw std::bad_alloc(); });
  EXPECT_EQ(synchronize_error(*memory), "out of host memory in stream work");
  const auto number = host_stream();
  number->host([] { throw 7; });
  EXPECT_EQ(synchronize_error(*number), "unknown exception in stream work");
}

TEST(Stream, failed_stream_may_die_without_synchronize) {
  const auto stream = host_stream();
  stream->host([] { throw Error(Fault::internal, "nobody asks"); });
}

TEST(Stream, worker_has_the_name_and_the_library_threads_asked_for) {
  const auto stream = host_stream("a name that is too long", 3);
  std::array<char, 32> name{};
  int threads = 0;
  stream->host([&] {
    pthread_getname_np(pthread_self(), name.data(), name.size());
    threads = library_threads();
  });
  stream->synchronize();
  EXPECT_STREQ(name.data(), "a name that is ");
  const int before = library_threads();
  set_library_threads(2);
  const bool has_openmp = library_threads() == 2;
  set_library_threads(before);
  EXPECT_EQ(threads, has_openmp ? 3 : 1);
}

TEST(Stream, cuda_in_a_build_without_it_is_refused_with_the_cure) {
#ifdef LOCKSTEP_WITH_CUDA
  GTEST_SKIP() << "this build has it";
#else
  try {
    static_cast<void>(make_stream(Device{DeviceKind::cuda, 1}));
    FAIL() << "must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::device);
    EXPECT_NE(std::string(error.what()).find("cuda:1"), std::string::npos);
    EXPECT_NE(error.hint().find("device: cpu"), std::string::npos);
  }
#endif
}

}  // namespace
}  // namespace lockstep
