// Particular laws of the schedules that know where ranks are, and of those that send whole arrays or chunks
// to everyone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "tests/comm/bits.h"

namespace lockstep::comm {
namespace {

using Nodes = std::vector<int>;

/// Elements that leave the node of `rank` in its plan.
std::int64_t sent_across(const Schedule& schedule, int rank, const Topology& topology, std::int64_t count) {
  std::int64_t elements = 0;
  for (const Round& round : schedule.plan(rank, topology, count).rounds) {
    for (const RangeTo& send : round.sends) {
      if (topology.node_of(send.to) != topology.node_of(rank)) elements += send.range.count;
    }
  }
  return elements;
}

std::int64_t node_sends(const std::string& name, int node, const Topology& topology, std::int64_t count) {
  std::int64_t elements = 0;
  for (const int rank : topology.ranks_of(node)) {
    elements += sent_across(*schedule_named(name), rank, topology, count);
  }
  return elements;
}

TEST(Topology, nodes_are_numbered_as_they_appear) {
  const Topology topology(Nodes{7, 3, 7, 3, 9});
  EXPECT_EQ(topology.ranks(), 5);
  EXPECT_EQ(topology.nodes(), 3);
  EXPECT_EQ(topology.node_of(4), 2);
  EXPECT_EQ(topology.ranks_of(1), (std::vector<int>{1, 3}));
  const Topology flat = 4;
  EXPECT_EQ(flat.nodes(), 1);
  EXPECT_EQ(flat.ranks_of(0).size(), 4u);
}

// 2(m-1)/m of the array leaves each of m nodes, whatever the number of its ranks.
TEST(Hierarchical, a_node_sends_what_the_formula_says) {
  EXPECT_EQ(node_sends("hierarchical", 0, Topology(Nodes{0, 0, 0, 1, 1, 1}), 1200), 1200);
  EXPECT_EQ(node_sends("hierarchical", 1, Topology(Nodes{0, 0, 1, 1, 2, 2, 3, 3}), 1200), 1800);
  EXPECT_EQ(node_sends("hierarchical", 0, Topology(Nodes{0, 1, 1, 1}), 1200),
            1200);  // ragged: one owner each
}

TEST(Hierarchical, schedules_that_do_not_know_nodes_send_more) {  // negative control of the law above
  const Topology dealt(Nodes{0, 1, 0, 1, 0, 1, 0, 1});
  EXPECT_EQ(node_sends("hierarchical", 0, dealt, 1600), 1600);
  EXPECT_EQ(node_sends("ring", 0, dealt, 1600), 4 * 2800);
  EXPECT_GT(node_sends("halving_doubling", 0, dealt, 1600), 2 * 1600);
}

TEST(Hierarchical, bits_depend_on_nodes_but_not_on_buckets) {
  const auto given = normals(6, 4096);
  const auto schedule = schedule_named("hierarchical");
  const auto summed = [&](const Topology& topology, int from, int to) {
    std::vector<std::vector<float>> arrays;
    for (const auto& array : given) arrays.emplace_back(array.begin() + from, array.begin() + to);
    run_plans(*schedule, arrays, topology);
    return arrays[0];
  };
  const Topology three(Nodes{0, 0, 1, 1, 2, 2});
  auto cut = summed(three, 0, 1000);
  const auto rest = summed(three, 1000, 4096);
  cut.insert(cut.end(), rest.begin(), rest.end());
  EXPECT_EQ(differing(summed(three, 0, 4096), cut), 0u);
  EXPECT_GT(differing(summed(three, 0, 4096), summed(Topology(Nodes{0, 0, 0, 1, 1, 1}), 0, 4096)), 0u);
  EXPECT_FALSE(schedule->layout_invariant());
}

TEST(Torus, rounds_and_bytes_are_what_the_formulas_say) {
  const auto torus = schedule_named("torus2d");
  EXPECT_EQ(torus->stated_cost(0, 16, 1600), (Cost{2 * (3 + 3), 12, 2 * 1600 * 15 / 16}));
  EXPECT_EQ(torus->stated_cost(3, 12, 1200), (Cost{2 * (2 + 3), 10, 2 * 1200 * 11 / 12}));
  EXPECT_EQ(torus->stated_cost(0, 13, 1300), schedule_named("ring")->stated_cost(0, 13, 1300));
}

TEST(Torus, a_width_that_does_not_divide_the_ranks_is_refused) {
  const auto& row = schedules().row("torus2d");
  const auto wide = row.make(Options::of(row.settings, {{"width", "4"}}));
  EXPECT_EQ(wide->stated_cost(0, 8, 800).rounds, 2 * (3 + 1));
  EXPECT_THROW(static_cast<void>(wide->plan(0, 6, 600)), Error);
}

TEST(Swing, partners_are_at_the_published_distances) {
  const auto swing = schedule_named("swing");
  const std::vector<int> distances{1, 1, 3, 5, 11, 21};
  for (int rank : {0, 1, 30, 63}) {
    const Plan plan = swing->plan(rank, 64, 640);
    for (std::size_t step = 0; step < distances.size(); ++step) {
      const int away = std::abs(plan.rounds[step].sends[0].to - rank);
      EXPECT_EQ(std::min(away, 64 - away), distances[step]) << "rank " << rank << ", step " << step;
    }
  }
}

TEST(Swing, costs_what_halving_doubling_costs) {
  for (int ranks : {2, 4, 8, 16, 5, 12}) {
    std::int64_t most[2] = {};
    for (int rank = 0; rank < ranks; ++rank) {
      most[0] = std::max(most[0], schedule_named("swing")->stated_cost(rank, ranks, 4096).elements);
      most[1] =
          std::max(most[1], schedule_named("halving_doubling")->stated_cost(rank, ranks, 4096).elements);
    }
    EXPECT_EQ(most[0], most[1]) << ranks;
  }
}

TEST(Swing, bits_change_with_the_cut_into_buckets) {
  const auto swing = schedule_named("swing");
  EXPECT_FALSE(swing->layout_invariant());
  const auto given = normals(8, 4096);
  EXPECT_GT(differing(summed_whole(*swing, given), summed_in_two(*swing, given, 1000)), 0u);
}

// T2 for the schedules that add all arrays at once: the bits are those of the balanced tree.
TEST(Shots, bits_equal_recursive_doubling_at_any_rank_count) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    const auto given = normals(ranks, 1009);
    const auto expected = summed_whole(*schedule_named("recursive_doubling"), given);
    for (const char* name : {"bruck", "one_shot", "two_shot"}) {
      EXPECT_TRUE(equal_bits(summed_whole(*schedule_named(name), given), expected)) << name << ", " << ranks;
    }
  }
}

TEST(Shots, one_shot_at_two_ranks_sends_the_bytes_of_the_ring_in_one_round) {
  EXPECT_EQ(schedule_named("one_shot")->stated_cost(0, 2, 1000), (Cost{1, 1, 1000}));
  EXPECT_EQ(schedule_named("ring")->stated_cost(0, 2, 1000), (Cost{2, 2, 1000}));
  EXPECT_EQ(schedule_named("one_shot")->stated_cost(0, 3, 1000).elements, 2000);  // not at more
}

TEST(Shots, two_shots_send_the_bytes_of_the_ring_in_two_rounds) {
  EXPECT_EQ(schedule_named("two_shot")->stated_cost(2, 8, 800), (Cost{2, 14, 1400}));
  EXPECT_EQ(schedule_named("ring")->stated_cost(2, 8, 800).elements, 1400);
}

TEST(Bruck, takes_the_fewest_rounds_at_any_rank_count) {
  EXPECT_EQ(schedule_named("bruck")->stated_cost(0, 5, 10), (Cost{3, 3, 40}));
  EXPECT_EQ(schedule_named("recursive_doubling")->stated_cost(3, 5, 10).rounds, 4);  // it must fold
  EXPECT_EQ(schedule_named("bruck")->stated_cost(0, 16, 10).rounds, 4);
}

TEST(Ring, segments_change_rounds_but_neither_bytes_nor_bits) {
  const auto& row = schedules().row("ring");
  const auto cut = row.make(Options::of(row.settings, {{"segment", "100"}}));
  const auto whole = schedule_named("ring");
  EXPECT_EQ(cut->stated_cost(0, 4, 4000).rounds, 10 * whole->stated_cost(0, 4, 4000).rounds);
  EXPECT_EQ(cut->stated_cost(0, 4, 4000).elements, whole->stated_cost(0, 4, 4000).elements);
  const auto given = normals(4, 4001);
  EXPECT_TRUE(equal_bits(summed_whole(*cut, given), summed_whole(*whole, given)));
}

}  // namespace
}  // namespace lockstep::comm
