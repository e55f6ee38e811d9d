// A plan run by hand, and the accumulation tree in pieces, dtypes and orders.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "comm/allreduce/runner.h"
#include "comm/exchange.h"
#include "comm/worlds.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

TEST(PlanScratch, holds_what_the_fullest_round_adds) {
  const Range range{2, 5};
  Plan plan;
  EXPECT_EQ(scratch_elements(plan), 0);
  plan.rounds.push_back({{{1, {0, 100}}}, {{1, {0, 100}, Arrival::replace}}});
  EXPECT_EQ(scratch_elements(plan), 0) << "what replaces needs no room";
  plan.rounds.push_back({{}, {{1, range, Arrival::add_as_left}, {2, range, Arrival::add_as_right}}});
  plan.rounds.push_back({{}, {{1, {0, 7}, Arrival::add_as_left}}});
  EXPECT_EQ(scratch_elements(plan), 10);
  EXPECT_EQ(plan.cost(), (Cost{3, 1, 100}));
}

TEST(PlanScratch, arrivals_of_one_round_are_added_in_order_and_replaced_where_they_say) {
  run_ranks_as_threads(3, [](World& world) {
    // Ranks 1 and 2 send their halves to rank 0, which adds them to its own and passes the rest around.
    Plan plan{{Round{}}};
    if (world.rank() == 0) {
      plan.rounds[0] = {{{1, {0, 2}}},
                        {{1, {2, 2}, Arrival::add_as_right},
                         {2, {2, 2}, Arrival::add_as_left},
                         {2, {4, 1}, Arrival::replace}}};
    } else if (world.rank() == 1) {
      plan.rounds[0] = {{{0, {0, 2}}}, {{0, {2, 2}, Arrival::replace}}};
    } else {
      plan.rounds[0] = {{{0, {0, 2}}, {0, {4, 1}}}, {}};
    }
    const auto transport = world.transport(60);
    const auto stream = make_stream(Device{});
    std::vector<float> data(5, 1.0F + static_cast<float>(world.rank()));
    std::vector<float> scratch(static_cast<std::size_t>(scratch_elements(plan)));
    run_plan(plan, flat(std::span(data)), flat(std::span(scratch)), *transport, {.name = "by hand"}, *stream);
    stream->synchronize();
    const std::vector<std::vector<float>> expected = {{1, 1, 6, 6, 3}, {2, 2, 1, 1, 2}, {3, 3, 3, 3, 3}};
    EXPECT_EQ(data, expected[static_cast<std::size_t>(world.rank())]);
  });
}

// ---- the tree

/// Sums 1, 2, 4, ... over `microbatches` in pieces of `piece`; every partial sum is exact.
template <class T>
void expect_exact_tree(int microbatches, std::int64_t count, std::int64_t piece) {
  const auto stream = make_stream(Device{});
  std::vector<T> sum(static_cast<std::size_t>(count));
  const auto tree = make_tree_accumulator(flat(std::span<T>(sum)), microbatches);
  for (int j = 0; j < microbatches; ++j) {
    const FlatSpan target = tree->target(j);
    ASSERT_EQ(target.count, count);
    vector::fill(target, std::ldexp(1.0F, j), *stream);
    for (std::int64_t done = 0; done < count; done += piece)
      tree->complete(j, std::min(done + piece, count), *stream);
    for (const std::int64_t again : {count, count / 2, count})
      tree->complete(j, again, *stream);  // adds nothing
  }
  stream->synchronize();
  const float expected = std::ldexp(1.0F, microbatches) - 1;
  for (const T each : sum) ASSERT_EQ(static_cast<float>(each), expected) << microbatches << " " << piece;
}

TEST(TreeAccumulation, each_microbatch_counts_once_in_every_dtype_and_piece) {
  for (int microbatches = 1; microbatches <= 8; ++microbatches) {
    for (const std::int64_t piece : {1, 7, 100}) {
      expect_exact_tree<float>(microbatches, 23, piece);
      expect_exact_tree<double>(microbatches, 23, piece);
      expect_exact_tree<Bf16>(microbatches, 23, piece);
    }
    expect_exact_tree<float>(microbatches, 0, 1);
  }
}

TEST(TreeAccumulation, last_microbatch_is_summed_as_far_as_it_is_complete) {
  const auto stream = make_stream(Device{});
  std::vector<float> sum(10);
  const auto tree = make_tree_accumulator(flat(std::span(sum)), 4);
  for (int j = 0; j < 4; ++j) {
    vector::fill(tree->target(j), 1, *stream);
    if (j < 3) tree->complete(j, 10, *stream);
  }
  tree->complete(3, 4, *stream);
  stream->synchronize();
  EXPECT_EQ(sum, (std::vector<float>{4, 4, 4, 4, 1, 1, 1, 1, 1, 1}));
  tree->complete(3, 10, *stream);
  stream->synchronize();
  EXPECT_EQ(sum, std::vector<float>(10, 4));
}

TEST(TreeAccumulation, no_target_holds_a_sum_that_is_still_needed) {
  // Each microbatch fills its whole target with its own power of two: a lost partial sum leaves a hole.
  for (const int microbatches : {1, 2, 3, 5, 12, 20}) expect_exact_tree<float>(microbatches, 3, 3);
}

TEST(TreeAccumulation, as_many_arrays_as_it_says_and_the_last_is_the_gradient) {
  std::vector<float> sum(5);
  for (int microbatches = 1; microbatches <= 40; ++microbatches) {
    const auto tree = make_tree_accumulator(flat(std::span(sum)), microbatches);
    std::set<const void*> used;
    for (int j = 0; j < microbatches; ++j) used.insert(tree->target(j).data);
    EXPECT_EQ(static_cast<int>(used.size()), tree->arrays()) << microbatches;
    EXPECT_EQ(tree->target(microbatches - 1).data, sum.data());
  }
}

}  // namespace
}  // namespace lockstep::comm
