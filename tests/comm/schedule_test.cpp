// Laws of every schedule, judged in memory: sums, equal bits on all ranks, matching messages, stated cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/comm/bits.h"

namespace lockstep::comm {
namespace {

std::vector<std::int64_t> sizes_around(int ranks) { return {0, 1, ranks - 1, ranks, ranks + 1, 97, 1009}; }

template <class T>
std::vector<std::vector<T>> integers(int ranks, std::int64_t count) {
  std::vector<std::vector<T>> arrays(static_cast<std::size_t>(ranks),
                                     std::vector<T>(static_cast<std::size_t>(count)));
  for (std::size_t rank = 0; rank < arrays.size(); ++rank) {
    for (std::size_t i = 0; i < arrays[rank].size(); ++i) {
      arrays[rank][i] = static_cast<T>(static_cast<int>((i * 37 + rank * 101) % 1023) - 511);
    }
  }
  return arrays;
}

class EverySchedule : public testing::TestWithParam<NamedSchedule> {
 protected:
  const Schedule& schedule() const { return *GetParam().schedule; }
  std::int64_t large() const { return has_tiny_segments(GetParam().name) ? 4'001 : 100'003; }
};
INSTANTIATE_TEST_SUITE_P(Table, EverySchedule, testing::ValuesIn(all_schedules()),
                         [](const auto& each) { return each.param.name; });

template <class T>
void expect_exact_sums(const Schedule& schedule, const Topology& topology, std::int64_t count) {
  auto arrays = integers<T>(topology.ranks(), count);
  std::vector<T> expected(static_cast<std::size_t>(count));
  for (const auto& array : arrays) {
    for (std::size_t i = 0; i < array.size(); ++i) expected[i] += array[i];
  }
  run_plans(schedule, arrays, topology);
  for (const auto& array : arrays) {
    ASSERT_TRUE(equal_bits(array, expected)) << topology.ranks() << " ranks, " << count;
  }
}

TEST_P(EverySchedule, integers_at_1_to_17_ranks_sum_exactly) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    for (std::int64_t count : sizes_around(ranks)) {
      expect_exact_sums<float>(schedule(), ranks, count);
      expect_exact_sums<std::int32_t>(schedule(), ranks, count);
    }
  }
}

TEST_P(EverySchedule, a_large_array_sums_exactly) {
  for (int ranks : {2, 3, 17}) expect_exact_sums<double>(schedule(), ranks, large());
}

TEST_P(EverySchedule, random_floats_give_every_rank_the_same_bits) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    auto arrays = normals(ranks, 1009);
    run_plans(schedule(), arrays);
    for (const auto& array : arrays) ASSERT_TRUE(equal_bits(array, arrays[0])) << ranks << " ranks";
  }
}

TEST_P(EverySchedule, random_floats_sum_to_rounding) {
  for (int ranks : {2, 3, 5, 16, 17}) {
    const auto given = normals(ranks, 1009);
    const auto summed = summed_whole(schedule(), given);
    for (std::size_t i = 0; i < summed.size(); ++i) {
      double exact = 0, size = 0;
      for (const auto& array : given) exact += array[i], size += std::abs(array[i]);
      ASSERT_NEAR(summed[i], exact, size * ranks * 0x1p-24);
    }
  }
}

TEST_P(EverySchedule, plans_at_1_to_64_ranks_match) {
  for (int ranks = 1; ranks <= 64; ++ranks) {
    for (std::int64_t count :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{ranks} + 1, std::int64_t{211}}) {
      std::vector<std::vector<int>> ones(static_cast<std::size_t>(ranks),
                                         std::vector<int>(static_cast<std::size_t>(count), 1));
      ASSERT_NO_THROW(run_plans(schedule(), ones)) << ranks << " ranks, " << count;
      for (const auto& array : ones) {
        ASSERT_TRUE(std::all_of(array.begin(), array.end(), [&](int x) { return x == ranks; })) << ranks;
      }
    }
  }
}

bool apart(Range a, Range b) { return a.first + a.count <= b.first || b.first + b.count <= a.first; }

bool in_one_place(Range range, std::int64_t count, std::int64_t workspace) {
  const std::int64_t end = range.first + range.count;
  return range.count > 0 && range.first >= 0 && end <= count + workspace &&
         (end <= count || range.first >= count);
}

void expect_well_formed(const Round& round, int rank, const Topology& topology, std::int64_t count,
                        std::int64_t workspace) {
  const int ranks = topology.ranks();
  std::vector<Range> ranges;
  for (const RangeTo& send : round.sends) {
    ASSERT_TRUE(send.to >= 0 && send.to < ranks && send.to != rank);
    ranges.push_back(send.range);
  }
  for (const RangeFrom& receive : round.receives) {
    ASSERT_TRUE(receive.from >= 0 && receive.from < ranks && receive.from != rank);
    if (receive.arrival == Arrival::replace) {
      for (Range other : ranges) ASSERT_TRUE(apart(other, receive.range));
    }
    ranges.push_back(receive.range);
  }
  for (const Local& local : round.locals) {
    ASSERT_TRUE(apart(local.from, local.to) && local.from.count == local.to.count);
    ranges.insert(ranges.end(), {local.from, local.to});
  }
  for (Range range : ranges) ASSERT_TRUE(in_one_place(range, count, workspace));
}

void expect_well_formed(const Schedule& schedule, const Topology& topology, std::int64_t count) {
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    const Plan plan = schedule.plan(rank, topology, count);
    for (const Round& round : plan.rounds) {
      expect_well_formed(round, rank, topology, count, plan.workspace);
    }
  }
}

TEST_P(EverySchedule, rounds_are_well_formed) {
  for (int ranks = 1; ranks <= 20; ++ranks) {
    for (std::int64_t count : sizes_around(ranks)) {
      expect_well_formed(schedule(), ranks, count);
    }
  }
}

void expect_stated_cost(const Schedule& schedule, const Topology& topology, std::int64_t count) {
  for (int rank = 0; rank < topology.ranks(); ++rank) {
    const Cost planned = schedule.plan(rank, topology, count).cost();
    const Cost stated = schedule.stated_cost(rank, topology, count);
    ASSERT_EQ(planned, stated) << topology.ranks() << " ranks, rank " << rank << ", " << count << ": planned "
                               << planned.rounds << " " << planned.messages << " " << planned.elements
                               << ", stated " << stated.rounds << " " << stated.messages << " "
                               << stated.elements;
  }
}

TEST_P(EverySchedule, stated_cost_equals_the_plan) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    for (std::int64_t count : {0, 1, 2, 3, ranks - 1, ranks, ranks + 1, 97, 1024}) {
      expect_stated_cost(schedule(), ranks, count);
    }
    expect_stated_cost(schedule(), ranks, large());
  }
  for (int ranks = 18; ranks <= 64; ++ranks) expect_stated_cost(schedule(), ranks, 97);
}

TEST_P(EverySchedule, ranks_on_several_nodes_keep_every_law) {
  for (const Topology& topology : topologies()) {
    for (const std::int64_t count : sizes_around(topology.ranks())) {
      expect_exact_sums<float>(schedule(), topology, count);
      expect_well_formed(schedule(), topology, count);
      expect_stated_cost(schedule(), topology, count);
    }
    auto arrays = normals(topology.ranks(), 1009);
    run_plans(schedule(), arrays, topology);
    for (const auto& array : arrays) ASSERT_TRUE(equal_bits(array, arrays[0]));
  }
}

TEST_P(EverySchedule, layout_invariant_rows_keep_their_bits_in_smaller_buckets) {
  for (int ranks : {2, 3, 4, 5, 6, 8, 12, 16, 17, 32}) {
    const auto given = normals(ranks, 4096);
    const auto changed = differing(summed_whole(schedule(), given), summed_in_two(schedule(), given, 1000));
    if (schedule().layout_invariant()) {
      EXPECT_EQ(changed, 0u) << ranks << " ranks";
    }
  }
}

}  // namespace
}  // namespace lockstep::comm
