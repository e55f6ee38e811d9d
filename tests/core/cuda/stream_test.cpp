// CUDA streams keep stream.h's promises: order, events across streams and devices, failures that reach those
// who wait; memory; recordings.
#include "core/stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/vector/vector.h"
#include "tests/support/gpu.h"

namespace lockstep {
namespace {

using namespace std::chrono_literals;

class GpuStream : public ::testing::Test {
 protected:
  void SetUp() override {
    LOCKSTEP_NEEDS_VISIBLE_GPU();
    one_ = make_stream(kGpu);
    two_ = make_stream(kGpu);
    x_ = make_array(kGpu, Dtype::f32, 1000);
  }
  [[nodiscard]] float first() const {
    std::vector<float> numbers(1000);
    copy_to_host(x_.span, numbers.data());
    return numbers[0];
  }
  static std::string error_of(Stream& stream) {
    try {
      stream.synchronize();
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  std::unique_ptr<Stream> one_, two_;
  FlatArray x_;
};

TEST_F(GpuStream, work_and_host_tasks_run_in_order) {
  std::vector<int> seen;
  for (int i = 0; i < 20; ++i) {
    one_->host([&, i] { seen.push_back(i); });
    vector::fill(x_.span, static_cast<float>(i), *one_);
  }
  one_->synchronize();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(first(), 19);
}

TEST_F(GpuStream, other_stream_waits_for_the_event) {
  std::atomic<bool> done = false;
  one_->host([&] {
    std::this_thread::sleep_for(50ms);
    done = true;
  });
  two_->wait(one_->record());
  bool seen = false;
  two_->host([&] { seen = done; });
  two_->synchronize();
  EXPECT_TRUE(seen);
  EXPECT_GT(two_->waited_s(), 0.02);
}

TEST_F(GpuStream, gpu_waits_for_a_host_stream) {
  const auto host = make_stream(Device{});
  std::atomic<bool> done = false;
  host->host([&] {
    std::this_thread::sleep_for(20ms);
    done = true;
  });
  one_->wait(host->record());
  bool seen = false;
  one_->host([&] { seen = done; });
  one_->synchronize();
  EXPECT_TRUE(seen);
}

TEST_F(GpuStream, a_failure_skips_later_tasks_and_reaches_who_waits) {
  bool ran = false;
  one_->host([] { throw Error(Fault::data, "lost"); });
  one_->host([&] { ran = true; });
  two_->wait(one_->record());
  EXPECT_EQ(error_of(*two_), "lost");
  EXPECT_EQ(error_of(*one_), "lost");
  EXPECT_EQ(error_of(*one_), "lost");
  EXPECT_FALSE(ran);
}

TEST_F(GpuStream, events_of_an_idle_stream_are_complete) {
  const Event event = one_->record();
  event.wait();
  EXPECT_TRUE(event.complete());
  EXPECT_TRUE(Event().complete());
}

TEST_F(GpuStream, memory_is_zero_aligned_and_refused_with_its_size) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1} << 20}) {
    const Memory memory = allocate(kGpu, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 256, 0U);
    std::vector<char> content(bytes, 1);
    copy_to_host(memory.view(Dtype::u8, static_cast<std::int64_t>(bytes)), content.data());
    EXPECT_EQ(content, std::vector<char>(bytes, 0));
  }
  try {
    static_cast<void>(allocate(kGpu, std::size_t{1} << 50));
    FAIL() << "got a PiB";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::device);
    EXPECT_NE(std::string(error.what()).find("PiB"), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
  vector::fill(x_.span, 1, *one_);  // and the device still works
  one_->synchronize();
}

TEST_F(GpuStream, recording_runs_again_and_reads_memory_anew) {
  const FlatArray sum = make_array(kGpu, Dtype::f32, 1000);
  const auto recording = record_work(*one_, [&] { vector::add(x_.span, sum.span, *one_); });
  for (const float value : {1.0f, 10.0f, 100.0f}) {
    vector::fill(x_.span, value, *one_);
    recording->run(*one_);
  }
  one_->synchronize();
  std::vector<float> numbers(1000);
  copy_to_host(sum.span, numbers.data());
  EXPECT_EQ(numbers, std::vector<float>(1000, 111));
}

TEST_F(GpuStream, recording_spans_streams_that_meet_at_events) {
  const auto recording = record_work(*one_, [&] {
    vector::fill(x_.span, 3, *one_);
    two_->wait(one_->record());
    vector::scale(5, x_.span, *two_);
    one_->wait(two_->record());
    vector::scale(2, x_.span, *one_);
  });
  EXPECT_EQ(first(), 0) << "recording ran the work";
  for (int i = 0; i < 3; ++i) recording->run(*one_);
  one_->synchronize();
  EXPECT_EQ(first(), 30);
}

TEST_F(GpuStream, recording_refuses_host_tasks_and_leaves_the_stream_usable) {
  EXPECT_THROW(static_cast<void>(record_work(*one_, [&] { one_->host([] {}); })), Error);
  vector::fill(x_.span, 4, *one_);
  one_->synchronize();
  EXPECT_EQ(first(), 4);
}

}  // namespace
}  // namespace lockstep
