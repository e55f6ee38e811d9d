// Every schedule with real messages between ranks that are threads: exact sums in every type, equal bits,
// counted cost.
#include <gtest/gtest.h>

#include "comm/worlds.h"
#include "tests/comm/sums.h"
#include "tests/support/rank_counts.h"

namespace lockstep::comm {
namespace {

class AllreduceOnThreads : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, AllreduceOnThreads,
                         testing::ValuesIn(rank_counts({1, 2, 3, 4, 5, 6, 7, 8, 16})));

TEST_P(AllreduceOnThreads, every_schedule_sums_with_its_stated_cost) {
  run_ranks_as_threads(GetParam(), [](World& world) { expect_all_schedules_sum(world, 1009); });
}

TEST(AllreduceOnThreads, ranks_on_several_nodes_sum_with_the_stated_cost) {
  for (const Topology& topology : topologies()) {
    run_ranks_as_threads(topology, [&](World& world) {
      EXPECT_EQ(world.transport(60)->topology().nodes(), topology.nodes());
      for (const NamedSchedule& chosen : all_schedules()) {
        Summer summer(world, chosen);
        for (const std::int64_t count : {0, 1, 97}) expect_exact_sum<float>(summer, count);
        expect_same_bits(world, summer, 97);
      }
    });
  }
}

TEST(AllreduceOnThreads, a_large_array_sums_with_its_stated_cost) {
  run_ranks_as_threads(4, [](World& world) {
    for (const NamedSchedule& chosen : all_schedules()) {
      Summer summer(world, chosen);
      if (!has_tiny_segments(chosen.name)) expect_exact_sum<float>(summer, 100'003);
    }
  });
}

TEST(AllreduceOnThreads, alone_it_changes_and_sends_nothing) {
  const auto world = make_self_world();
  for (const NamedSchedule& chosen : all_schedules()) {
    Summer summer(*world, chosen);
    auto data = normal_values(0, 97);
    summer.sum(data);
    EXPECT_EQ(data, normal_values(0, 97)) << chosen.name;
    EXPECT_EQ(summer.collectives->traffic().messages, 0) << chosen.name;
  }
}

TEST(AllreduceOnThreads, sums_of_many_sizes_in_a_row_do_not_meet) {
  run_ranks_as_threads(3, [](World& world) {
    Summer summer(world, {"halving_doubling", schedule_named("halving_doubling")});
    std::vector<std::vector<float>> arrays;
    for (std::size_t count = 1; count <= 50; ++count) arrays.emplace_back(count, static_cast<float>(count));
    for (auto& array : arrays) summer.collectives->sum(flat(std::span(array)), *summer.stream);
    summer.stream->synchronize();
    for (const auto& array : arrays) {
      for (float x : array) ASSERT_EQ(x, 3.0f * static_cast<float>(array.size()));
    }
  });
}

}  // namespace
}  // namespace lockstep::comm
