// Particular laws of single schedules: bits that change with the cut or do not, cost by the published
// formulas, the shape of the trees.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "comm/allreduce/double_tree.h"
#include "core/error.h"
#include "tests/comm/bits.h"

namespace lockstep::comm {
namespace {

TEST(Ring, bits_change_with_the_cut_into_buckets) {  // the negative control of layout invariance
  const auto ring = schedule_named("ring");
  EXPECT_FALSE(ring->layout_invariant());
  for (int ranks : {4, 8, 16}) {
    const auto given = normals(ranks, 4096);
    EXPECT_GT(differing(summed_whole(*ring, given), summed_in_two(*ring, given, 1000)), 4096u / 8);
  }
}

TEST(DoubleTree, bits_change_with_the_cut_into_buckets) {
  const auto tree = schedule_named("double_tree");
  const auto given = normals(8, 4096);
  EXPECT_GT(differing(summed_whole(*tree, given), summed_in_two(*tree, given, 1000)), 0u);
}

TEST(HalvingDoubling, bits_equal_recursive_doubling_at_any_rank_count) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    const auto given = normals(ranks, 4096);
    EXPECT_TRUE(equal_bits(summed_whole(*schedule_named("halving_doubling"), given),
                           summed_whole(*schedule_named("recursive_doubling"), given)))
        << ranks << " ranks";
  }
}

TEST(HalvingDoubling, ring_bits_differ) {  // negative control of the law above
  const auto given = normals(8, 4096);
  EXPECT_GT(differing(summed_whole(*schedule_named("ring"), given),
                      summed_whole(*schedule_named("recursive_doubling"), given)),
            0u);
}

TEST(HalvingDoubling, sums_in_the_balanced_tree_over_ranks) {
  const auto given = normals(8, 513);
  const auto summed = summed_whole(*schedule_named("halving_doubling"), given);
  for (std::size_t i = 0; i < summed.size(); ++i) {
    const auto x = [&](int rank) { return given[static_cast<std::size_t>(rank)][i]; };
    const float tree = ((x(0) + x(1)) + (x(2) + x(3))) + ((x(4) + x(5)) + (x(6) + x(7)));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(summed[i]), std::bit_cast<std::uint32_t>(tree));
  }
}

double busiest(const std::string& name, int ranks, std::int64_t count) {
  std::int64_t most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    most = std::max(most, schedule_named(name)->plan(rank, ranks, count).cost().elements);
  }
  return static_cast<double>(most) / static_cast<double>(count);
}

// Array lengths sent by the busiest rank, as the papers' formulas give them.
TEST(Cost, busiest_rank_sends_what_the_formulas_say) {
  constexpr std::int64_t kCount = 5 * 12 * 16 * 17;
  EXPECT_DOUBLE_EQ(busiest("ring", 5, kCount), 1.6);
  EXPECT_DOUBLE_EQ(busiest("ring", 16, kCount), 1.875);
  EXPECT_DOUBLE_EQ(busiest("halving_doubling", 16, kCount), 1.875);
  EXPECT_DOUBLE_EQ(busiest("halving_doubling", 5, kCount), 2.5);
  EXPECT_DOUBLE_EQ(busiest("halving_doubling", 12, kCount), 2.75);
  EXPECT_DOUBLE_EQ(busiest("halving_doubling", 17, kCount), 2.875);
  EXPECT_DOUBLE_EQ(busiest("recursive_doubling", 16, kCount), 4.0);
  EXPECT_DOUBLE_EQ(busiest("double_tree", 3, kCount), 1.5);
  for (int ranks : {4, 5, 8, 12, 16, 17, 31, 32})
    EXPECT_LE(busiest("double_tree", ranks, kCount), 2.0) << ranks;
}

TEST(Cost, rounds_are_what_the_formulas_say) {
  const auto rounds = [](const std::string& name, int ranks) {
    return schedule_named(name)->stated_cost(0, ranks, 1000).rounds;
  };
  EXPECT_EQ(rounds("ring", 17), 32);
  EXPECT_EQ(rounds("recursive_doubling", 5), 4);
  EXPECT_EQ(rounds("recursive_doubling", 17), 6);
  EXPECT_EQ(rounds("halving_doubling", 16), 8);
  EXPECT_EQ(rounds("halving_doubling", 17), 10);
  EXPECT_EQ(rounds("double_tree", 16), 8);  // one segment: up and down four edges
}

TEST(Cost, a_plan_without_its_last_round_is_not_what_is_stated) {  // negative control of stated costs
  for (const char* name : {"ring", "halving_doubling", "recursive_doubling", "one_shot"}) {
    const auto schedule = schedule_named(name);
    Plan plan = schedule->plan(0, 4, 100);
    EXPECT_EQ(plan.cost(), schedule->stated_cost(0, 4, 100)) << name;
    plan.rounds.pop_back();
    EXPECT_NE(plan.cost(), schedule->stated_cost(0, 4, 100)) << name;
  }
}

TEST(DoubleTree, segments_follow_one_another_through_the_tree) {
  const auto& row = schedules().row("double_tree");
  const auto tree = row.make(Options::of(row.settings, {{"segment", "10"}}));
  EXPECT_EQ(tree->stated_cost(0, 16, 1000).rounds, 50 + 2 * 4 - 1);
  EXPECT_THROW(static_cast<void>(Options::of(row.settings, {{"segment", "-1"}})), Error);
}

TEST(DoubleTree, has_eight_segments_for_each_level_unless_they_are_short_or_long) {
  const auto segments = [tree = schedule_named("double_tree")](int ranks, std::int64_t count) {
    return tree->stated_cost(0, ranks, count).rounds - 2 * tree_depth(ranks) + 1;
  };
  constexpr std::int64_t kMi = 1 << 20;
  EXPECT_EQ(segments(2, 4 * kMi), 8);
  EXPECT_EQ(segments(16, 4 * kMi), 32);
  EXPECT_EQ(segments(16, 4 * kMi + 1), 32);
  EXPECT_EQ(segments(16, kMi), 16) << "of 32768 elements";
  EXPECT_EQ(segments(2, 1024 * kMi), 128) << "of 4 Mi elements";
}

TEST(DoubleTree, parents_and_children_agree_at_1_to_512_ranks) {
  for (int ranks = 1; ranks <= 512; ++ranks) {
    std::vector<std::array<TreePlace, 2>> places;
    for (int rank = 0; rank < ranks; ++rank) places.push_back(double_tree_places(rank, ranks));
    for (std::size_t tree = 0; tree < 2; ++tree) {
      int roots = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const TreePlace& place = places[static_cast<std::size_t>(rank)][tree];
        roots += place.parent < 0;
        ASSERT_LE(place.depth, tree_depth(ranks));
        for (int child : {place.lower, place.higher}) {
          if (child < 0) continue;
          const TreePlace& below = places[static_cast<std::size_t>(child)][tree];
          ASSERT_EQ(below.parent, rank) << ranks << " ranks";
          ASSERT_EQ(below.depth, place.depth + 1) << ranks << " ranks";
        }
        if (place.parent >= 0) {
          const TreePlace& above = places[static_cast<std::size_t>(place.parent)][tree];
          ASSERT_TRUE(above.lower == rank || above.higher == rank) << ranks << " ranks";
        }
      }
      ASSERT_EQ(roots, 1) << ranks << " ranks";
    }
  }
}

TEST(DoubleTree, at_most_one_rank_works_in_both_trees) {
  const auto inner = [](const TreePlace& place) { return place.lower >= 0 || place.higher >= 0; };
  for (int ranks = 2; ranks <= 512; ++ranks) {
    int both = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto places = double_tree_places(rank, ranks);
      both += inner(places[0]) && inner(places[1]);
    }
    EXPECT_LE(both, ranks % 2) << ranks << " ranks";
  }
}

TEST(Chunks, cover_the_whole_in_order) {
  for (std::int64_t count : {0, 1, 5, 16, 97}) {
    std::int64_t next = 3;
    for (int index = 0; index < 7; ++index) {
      const Range chunk = chunk_of({3, count}, 7, index);
      EXPECT_EQ(chunk.first, next);
      EXPECT_LE(std::abs(chunk.count * 7 - count), 7);
      next += chunk.count;
    }
    EXPECT_EQ(next, 3 + count);
  }
}

TEST(Table, default_suits_the_place_and_keeps_bits_in_reproducible_mode) {
  for (const bool host : {true, false}) {
    for (const bool one_node : {true, false}) {
      for (const bool reproducible : {true, false}) {
        const std::string name(
            default_schedule({.host = host, .one_node = one_node, .reproducible = reproducible}));
        const char* fast = !host ? "library" : one_node ? "shared" : "halving_doubling";
        EXPECT_EQ(name, reproducible ? "halving_doubling" : fast);
        EXPECT_TRUE(schedule_named(name)->layout_invariant() || !host);
      }
    }
  }
  EXPECT_TRUE(schedule_named("library")->library());
  EXPECT_FALSE(schedule_named("library")->layout_invariant());
}

TEST(Table, a_wrong_name_is_refused_with_the_nearest) {
  try {
    static_cast<void>(schedules().row("rign"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE((std::string(error.what()) + error.hint()).find("ring"), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep::comm
