// What a trace tells: every span once, in the order enqueued, on one time line whatever the stream.
#include "core/trace.h"

#include <gtest/gtest.h>

#include <thread>

namespace lockstep {
namespace {

using namespace std::chrono_literals;

void sleep_on(Stream& stream) {
  stream.host([] { std::this_thread::sleep_for(2ms); });
}

TEST(Trace, spans_hold_what_was_enqueued_within_them_and_follow_one_another) {
  const auto stream = make_stream(Device{});
  Trace trace(*stream);
  for (int i = 0; i < 3; ++i) {
    const Trace::Span span(&trace, "compute", "work " + std::to_string(i), *stream, i);
    sleep_on(*stream);
  }
  const auto spans = trace.spans();
  ASSERT_EQ(spans.size(), 3U);
  double before = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(spans[i].track, "compute");
    EXPECT_EQ(spans[i].name, "work " + std::to_string(i));
    EXPECT_EQ(spans[i].bytes, static_cast<std::int64_t>(i));
    EXPECT_GE(spans[i].begin_s, before);
    EXPECT_GE(spans[i].end_s - spans[i].begin_s, 2e-3);
    before = spans[i].end_s;
  }
}

TEST(Trace, a_span_within_another_lies_within_it) {
  const auto stream = make_stream(Device{});
  Trace trace(*stream);
  {
    const Trace::Span outer(&trace, "compute", "outer", *stream);
    sleep_on(*stream);
    const Trace::Span inner(&trace, "compute", "inner", *stream);
    sleep_on(*stream);
  }
  const auto spans = trace.spans();
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].name, "outer");
  EXPECT_LE(spans[0].begin_s + 2e-3, spans[1].begin_s);
  EXPECT_LE(spans[1].end_s, spans[0].end_s);
}

TEST(Trace, streams_share_a_time_line_with_each_other_and_the_host) {
  const auto first = make_stream(Device{}), second = make_stream(Device{});
  Trace trace(*first);
  const auto begin = std::chrono::steady_clock::now();
  {
    const Trace::Span span(&trace, "first", "a", *first);
    sleep_on(*first);
  }
  second->wait(first->record());
  { const Trace::Span span(&trace, "second", "b", *second); }
  second->synchronize();
  trace.add("host", "all of it", begin, std::chrono::steady_clock::now());
  const auto spans = trace.spans();
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_LE(spans[0].end_s, spans[1].begin_s);
  constexpr double kWakingUp = 0.05;  // of a busy machine's threads
  EXPECT_LE(spans[2].begin_s, spans[0].begin_s + kWakingUp);
  EXPECT_GE(spans[2].end_s + kWakingUp, spans[1].end_s);
}

TEST(Trace, spans_belong_to_the_step_that_was_entered) {
  const auto stream = make_stream(Device{});
  Trace trace(*stream);
  for (const std::int64_t step : {7, 8}) {
    trace.enter(step);
    const Trace::Span span(&trace, "compute", "x", *stream);
    trace.add("host", "y", {}, {});
  }
  std::vector<std::int64_t> steps;
  for (const TracedSpan& span : trace.spans()) steps.push_back(span.step);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{7, 7, 8, 8}));
}

TEST(Trace, a_span_of_no_trace_enqueues_nothing) {
  const auto stream = make_stream(Device{});
  const double before = stream->waited_s();
  { const Trace::Span span(nullptr, "compute", "x", *stream); }
  EXPECT_TRUE(stream->record().complete() || stream->waited_s() == before);
  Trace trace(*stream);
  EXPECT_TRUE(trace.spans().empty());
}

TEST(StreamClock, numbers_points_from_0_again_after_a_reset) {
  const auto stream = make_stream(Device{});
  const auto clock = make_stream_clock(Device{});
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(clock->mark(*stream), 0U);
    sleep_on(*stream);
    EXPECT_EQ(clock->mark(*stream), 1U);
    EXPECT_GE(clock->seconds(0, 1), 2e-3);
    EXPECT_EQ(clock->seconds(0, 1), -clock->seconds(1, 0));
    clock->reset();
  }
}

}  // namespace
}  // namespace lockstep
