// Sums in memory that all ranks reach, on ranks as threads: values, bits and cost; what happens when a rank
// stays away, fails, or sums something else.
#include "comm/transport/shared_sum.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comm/transport/shared_exchange.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/bits.h"
#include "tests/comm/shared_checks.h"
#include "tests/support/rank_counts.h"

namespace lockstep::comm {
namespace {

class SharedMemory : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, SharedMemory, testing::ValuesIn(rank_counts({2, 3, 4, 5, 8, 16})));

TEST_P(SharedMemory, owned_arrays_sum_to_the_bits_of_the_plan) {
  run_ranks_as_threads(GetParam(), expect_sums_in_owned_memory);
}
TEST_P(SharedMemory, other_arrays_are_staged) { run_ranks_as_threads(GetParam(), expect_staged_sums); }
TEST_P(SharedMemory, sums_in_a_row_do_not_meet) { run_ranks_as_threads(GetParam(), expect_sums_in_a_row); }

TEST(SharedMemory, of_a_transport_and_its_duplicate_are_apart) {
  run_ranks_as_threads(3, [](World& world) {
    const auto first = make_collectives(world.transport(60), schedule_named("shared"));
    const auto second = first->duplicate();
    const auto stream_a = make_stream(Device{}), stream_b = make_stream(Device{});
    std::vector<float> a(200'000, 1), b(200'000, 2);
    first->sum(flat(std::span(a)), *stream_a);
    second->sum(flat(std::span(b)), *stream_b);
    stream_a->synchronize();
    stream_b->synchronize();
    EXPECT_TRUE(std::ranges::all_of(a, [](float x) { return x == 3; }));
    EXPECT_TRUE(std::ranges::all_of(b, [](float x) { return x == 6; }));
  });
}

TEST(SharedMemory, across_nodes_there_is_none_and_messages_are_sent) {
  run_ranks_as_threads(Topology(std::vector<int>{0, 0, 1}), [](World& world) {
    Summer summer(world, {"shared", schedule_named("shared")});
    EXPECT_EQ(summer.collectives->shared_memory(4096).data(), nullptr);
    expect_exact_sum<float>(summer, 1009);
    expect_same_bits(world, summer, 1009);
  });
}

TEST(SharedMemory, alone_nothing_changes) {
  const auto world = make_self_world();
  Summer summer(*world, {"shared", schedule_named("shared")});
  auto data = normal_values(0, 97);
  summer.sum(data);
  EXPECT_EQ(data, normal_values(0, 97));
}

/// What `body` threw on ranks as threads.
Error failure_of(int ranks, const std::function<void(World&)>& body) {
  try {
    run_ranks_as_threads(ranks, body);
  } catch (const Error& error) {
    return error;
  }
  return {Fault::internal, "nothing was thrown"};
}

TEST(SharedMemory, a_rank_that_stays_away_is_named_when_the_deadline_expires) {
  std::atomic<int> left = 2;
  const Error error = failure_of(3, [&](World& world) {
    const auto collectives = make_collectives(world.transport(0.2), schedule_named("shared"));
    const auto stream = make_stream(Device{});
    std::vector<float> data(100'000, 1);
    collectives->sum(flat(std::span(data)), *stream);
    stream->synchronize();
    if (world.rank() == 2) {
      while (left > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return;
    }
    struct Leave {
      std::atomic<int>& count;
      ~Leave() { --count; }
    } leave{left};
    collectives->sum(flat(std::span(data)), *stream, 7);
    stream->synchronize();
  });
  EXPECT_EQ(error.fault(), Fault::communication);
  const std::string text = error.what();
  for (const char* part : {"shared-memory all-reduce", "sequence 2", "bucket 7", "400000 bytes", "rank 2"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
}

TEST(SharedMemory, a_rank_that_fails_ends_the_others_at_once) {
  const auto begin = std::chrono::steady_clock::now();
  const Error error = failure_of(3, [&](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named("shared"));
    const auto stream = make_stream(Device{});
    std::vector<float> data(100'000, 1);
    collectives->sum(flat(std::span(data)), *stream);
    stream->synchronize();
    if (world.rank() == 1) throw Error(Fault::data, "the disk is gone");
    collectives->sum(flat(std::span(data)), *stream);
    stream->synchronize();
  });
  EXPECT_NE(std::string(error.what()).find("the disk is gone"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

/// It may come, sum and end while another looks around: it must not be told to have stayed away.
TEST(SharedMemory, a_rank_that_comes_while_another_is_impatient_is_not_missing) {
  std::vector<Memory> memory;
  std::vector<std::byte*> stages;
  for (int rank = 0; rank < 2; ++rank) {
    memory.push_back(allocate(Device{}, SharedExchange::stage_bytes()));
    stages.push_back(static_cast<std::byte*>(memory.back().data()));
  }
  SharedExchange early(0, stages, true), late(1, stages, true);
  std::vector<float> first(5, 1), second(5, 2);
  std::vector<int> before, after;
  early.one_shot(flat(std::span(first)), [&](const SharedExchange::Missing& missing) {
    before = missing();
    late.one_shot(flat(std::span(second)), [](const SharedExchange::Missing&) {});
    after = missing();
  });
  EXPECT_EQ(before, std::vector<int>{1});
  EXPECT_EQ(after, std::vector<int>{});
  EXPECT_EQ(first, std::vector<float>(5, 3));
  EXPECT_EQ(second, first);
}

TEST(SharedMemory, ranks_that_sum_different_lengths_are_told) {
  const Error error = failure_of(2, [&](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named("shared"));
    const auto stream = make_stream(Device{});
    std::vector<float> data(world.rank() == 0 ? 100'000 : 100'001, 1);
    collectives->sum(flat(std::span(data)), *stream);
    stream->synchronize();
  });
  EXPECT_EQ(error.fault(), Fault::internal);
  EXPECT_NE(std::string(error.what()).find("400004"), std::string::npos) << error.what();
}

TEST(BalancedSum, adds_in_the_tree_of_recursive_doubling_at_any_rank_count) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    auto arrays = normals(ranks, 5000);
    const auto expected = summed_whole(*schedule_named("recursive_doubling"), arrays);
    std::vector<FlatSpan> spans;
    for (auto& array : arrays) spans.push_back(flat(std::span(array)));
    BalancedSum().run(spans, spans);
    for (const auto& array : arrays) EXPECT_TRUE(equal_bits(array, expected)) << ranks << " ranks";
  }
}

TEST(BalancedSum, the_order_of_ranks_matters) {  // negative control: the law above can fail
  auto arrays = normals(4, 5000);
  const auto expected = summed_whole(*schedule_named("recursive_doubling"), arrays);
  std::vector<FlatSpan> spans;
  for (const std::size_t rank : {0, 2, 1, 3}) spans.push_back(flat(std::span(arrays[rank])));
  BalancedSum().run(spans, spans);
  EXPECT_GT(differing(arrays[0], expected), 0u);
}

}  // namespace
}  // namespace lockstep::comm
