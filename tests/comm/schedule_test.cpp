// Laws of every schedule, judged in memory: sums, equal bits on all ranks, matching messages, stated cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <set>

#include "comm/allreduce/double_tree.h"
#include "tests/comm/plans.h"

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

std::vector<std::vector<float>> normals(int ranks, std::int64_t count) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> arrays(static_cast<std::size_t>(ranks),
                                         std::vector<float>(static_cast<std::size_t>(count)));
  for (auto& array : arrays) std::generate(array.begin(), array.end(), [&] { return normal(generator); });
  return arrays;
}

template <class T>
bool equal_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
std::size_t differing(const std::vector<T>& a, const std::vector<T>& b) {
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i) different += std::memcmp(&a[i], &b[i], sizeof(T)) != 0;
  return different;
}

/// The sum of the whole array when it is exchanged in one bucket, or in two cut at `cut`.
std::vector<float> summed_whole(const Schedule& schedule, std::vector<std::vector<float>> arrays) {
  run_plans(schedule, arrays);
  return arrays[0];
}
std::vector<float> summed_in_two(const Schedule& schedule, const std::vector<std::vector<float>>& arrays,
                                 int cut) {
  std::vector<std::vector<float>> first, second;
  for (const auto& array : arrays) {
    first.emplace_back(array.begin(), array.begin() + cut);
    second.emplace_back(array.begin() + cut, array.end());
  }
  run_plans(schedule, first);
  run_plans(schedule, second);
  first[0].insert(first[0].end(), second[0].begin(), second[0].end());
  return first[0];
}

class EverySchedule : public testing::TestWithParam<NamedSchedule> {
 protected:
  const Schedule& schedule() const { return *GetParam().schedule; }
  /// A segment of 7 elements makes large plans slow to check, not different.
  std::int64_t large() const { return GetParam().name == "double_tree_segment_7" ? 4'001 : 100'003; }
};
INSTANTIATE_TEST_SUITE_P(Table, EverySchedule, testing::ValuesIn(all_schedules()),
                         [](const auto& each) { return each.param.name; });

template <class T>
void expect_exact_sums(const Schedule& schedule, int ranks, std::int64_t count) {
  auto arrays = integers<T>(ranks, count);
  std::vector<T> expected(static_cast<std::size_t>(count));
  for (const auto& array : arrays) {
    for (std::size_t i = 0; i < array.size(); ++i) expected[i] += array[i];
  }
  run_plans(schedule, arrays);
  for (const auto& array : arrays) ASSERT_TRUE(equal_bits(array, expected)) << ranks << " ranks, " << count;
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

void expect_well_formed(const Round& round, int rank, int ranks, std::int64_t count) {
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
  for (Range range : ranges) {
    ASSERT_TRUE(range.count > 0 && range.first >= 0 && range.first + range.count <= count);
  }
}

TEST_P(EverySchedule, rounds_are_well_formed) {
  for (int ranks = 1; ranks <= 20; ++ranks) {
    for (std::int64_t count : sizes_around(ranks)) {
      for (int rank = 0; rank < ranks; ++rank) {
        for (const Round& round : schedule().plan(rank, ranks, count).rounds) {
          expect_well_formed(round, rank, ranks, count);
        }
      }
    }
  }
}

void expect_stated_cost(const Schedule& schedule, int ranks, std::int64_t count) {
  for (int rank = 0; rank < ranks; ++rank) {
    const Cost planned = schedule.plan(rank, ranks, count).cost();
    const Cost stated = schedule.stated_cost(rank, ranks, count);
    ASSERT_EQ(planned, stated) << ranks << " ranks, rank " << rank << ", " << count << ": planned "
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

TEST_P(EverySchedule, layout_invariant_rows_keep_their_bits_in_smaller_buckets) {
  for (int ranks : {2, 3, 4, 5, 6, 8, 12, 16, 17, 32}) {
    const auto given = normals(ranks, 4096);
    const auto changed = differing(summed_whole(schedule(), given), summed_in_two(schedule(), given, 1000));
    if (schedule().layout_invariant()) {
      EXPECT_EQ(changed, 0u) << ranks << " ranks";
    }
  }
}

// ---- the particular laws

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

TEST(DoubleTree, segments_follow_one_another_through_the_tree) {
  const auto& row = schedules().row("double_tree");
  const auto tree = row.make(Options::of(row.settings, {{"segment", "10"}}));
  EXPECT_EQ(tree->stated_cost(0, 16, 1000).rounds, 50 + 2 * 4 - 1);
  EXPECT_THROW(static_cast<void>(Options::of(row.settings, {{"segment", "0"}})), Error);
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

TEST(Table, default_is_a_row_that_keeps_bits) {
  EXPECT_TRUE(schedule_named(std::string(default_schedule()))->layout_invariant());
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
