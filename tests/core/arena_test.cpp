#include "core/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "core/error.h"

namespace lockstep {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

bool alive_at(const Lifetime& block, int time) {
  return (block.first <= time && time <= block.last) ||
         (block.later_first <= time && time <= block.later_last);
}

/// No plan can be smaller: the most bytes alive at one time.
std::size_t lower_bound_of(const std::vector<Lifetime>& blocks) {
  std::size_t most = 0;
  for (const Lifetime& moment : blocks) {  // the maximum is reached when some block starts
    for (const int time : {moment.first, moment.later_first}) {
      std::size_t alive = 0;
      for (const Lifetime& block : blocks) {
        if (alive_at(block, time)) alive += aligned(block.bytes);
      }
      most = std::max(most, alive);
    }
  }
  return most;
}

/// Moment by moment.
bool alive_together(const Lifetime& one, const Lifetime& other) {
  for (int time = 0; time < 200; ++time) {
    if (alive_at(one, time) && alive_at(other, time)) return true;
  }
  return false;
}

/// The first broken promise of a plan, or empty.
std::string broken(const std::vector<Lifetime>& blocks, const ArenaPlan& plan) {
  if (plan.offsets.size() != blocks.size()) return "wrong number of offsets";
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (plan.offsets[i] % kArenaAlignment != 0) return "unaligned offset";
    if (plan.offsets[i] + blocks[i].bytes > plan.bytes) return "block outside the arena";
    for (std::size_t j = 0; j < i; ++j) {
      const bool alive = alive_together(blocks[i], blocks[j]);
      const bool touch = plan.offsets[i] < plan.offsets[j] + blocks[j].bytes &&
                         plan.offsets[j] < plan.offsets[i] + blocks[i].bytes;
      if (alive && touch) return "blocks " + std::to_string(j) + " and " + std::to_string(i) + " overlap";
    }
  }
  return {};
}

TEST(Arena, no_blocks_need_no_bytes) {
  EXPECT_EQ(plan_arena({}).bytes, 0U);
  const std::vector<Lifetime> empty = {{0, 0, 5}, {0, 2, 3}};
  EXPECT_EQ(plan_arena(empty).bytes, 0U);
  EXPECT_EQ(plan_arena(empty).offsets.size(), 2U);
}

TEST(Arena, blocks_never_alive_together_share_bytes) {
  const std::vector<Lifetime> blocks = {{1000, 0, 1}, {900, 2, 3}, {800, 4, 4}};
  const ArenaPlan plan = plan_arena(blocks);
  EXPECT_EQ(plan.bytes, 1024U);
  EXPECT_EQ(plan.offsets, (std::vector<std::size_t>{0, 0, 0}));
}

TEST(Arena, lifetimes_that_meet_at_one_moment_do_not_share) {
  const std::vector<Lifetime> blocks = {{256, 0, 2}, {256, 2, 3}};
  EXPECT_EQ(plan_arena(blocks).bytes, 512U);
}

TEST(Arena, chain_of_activations_needs_two_buffers) {
  std::vector<Lifetime> blocks;
  for (int i = 0; i < 50; ++i) blocks.push_back({4096, i, i + 1});
  const ArenaPlan plan = plan_arena(blocks);
  EXPECT_EQ(broken(blocks, plan), "");
  EXPECT_EQ(plan.bytes, 8192U);
}

TEST(Arena, small_block_fits_into_a_gap) {
  // 0 and 1 pin the two ends of time; 2 fits above 0 while 1 is not alive yet.
  const std::vector<Lifetime> blocks = {{1024, 0, 9}, {512, 5, 9}, {256, 0, 4}, {256, 0, 4}};
  const ArenaPlan plan = plan_arena(blocks);
  EXPECT_EQ(broken(blocks, plan), "");
  EXPECT_EQ(plan.bytes, 1536U);
}

TEST(Arena, backward_lifetime_is_refused) {
  const std::vector<Lifetime> blocks = {{16, 3, 2}};
  EXPECT_THROW(static_cast<void>(plan_arena(blocks)), Error);
}

TEST(Arena, block_that_comes_back_lends_its_bytes_in_between) {
  const std::vector<Lifetime> blocks = {{256, 0, 1, 6, 7}, {256, 2, 5}, {256, 8, 9}};
  EXPECT_EQ(plan_arena(blocks).bytes, 256U);
  const std::vector<Lifetime> touching = {{256, 0, 1, 6, 7}, {256, 2, 6}};
  EXPECT_EQ(plan_arena(touching).bytes, 512U);
  const std::vector<Lifetime> backward = {{256, 3, 4, 4, 5}};
  EXPECT_THROW(static_cast<void>(plan_arena(backward)), Error);
}

/// The largest arena among random instances, in lower bounds; a third of the blocks may come back.
double worst_of_random_instances(bool come_back) {
  std::mt19937 random(7);
  double worst = 1;
  for (int instance = 0; instance < 300; ++instance) {
    const int count = std::uniform_int_distribution(1, 80)(random);
    std::vector<Lifetime> blocks;
    for (int i = 0; i < count; ++i) {
      const int first = std::uniform_int_distribution(0, 60)(random);
      const int last = first + std::uniform_int_distribution(0, 20)(random);
      blocks.push_back({std::uniform_int_distribution<std::size_t>(0, 100'000)(random), first, last});
      if (come_back && i % 3 == 0) blocks.back() = {blocks.back().bytes, first, last, last + 5, last + 15};
    }
    const ArenaPlan plan = plan_arena(blocks);
    EXPECT_EQ(broken(blocks, plan), "") << "instance " << instance;
    const std::size_t bound = lower_bound_of(blocks);
    EXPECT_GE(plan.bytes, bound);
    if (bound > 0) worst = std::max(worst, static_cast<double>(plan.bytes) / static_cast<double>(bound));
  }
  return worst;
}

TEST(Arena, random_instances_never_overlap_and_stay_near_the_lower_bound) {
  EXPECT_LT(worst_of_random_instances(false), 1.5);
  EXPECT_LT(worst_of_random_instances(true), 2.0);
}

TEST(Arena, training_graph_of_forward_and_backward_meets_the_lower_bound) {
  // Activation i lives from step i to its use in backward step 2n - i: nested lifetimes pack perfectly.
  std::vector<Lifetime> blocks;
  constexpr int kLayers = 40;
  for (int i = 0; i < kLayers; ++i)
    blocks.push_back({static_cast<std::size_t>(1000 * (i % 7 + 1)), i, 2 * kLayers - i});
  const ArenaPlan plan = plan_arena(blocks);
  EXPECT_EQ(broken(blocks, plan), "");
  EXPECT_EQ(plan.bytes, lower_bound_of(blocks));
}

TEST(Arena, checker_sees_a_broken_plan) {  // negative control
  const std::vector<Lifetime> blocks = {{512, 0, 2}, {512, 1, 3}};
  ArenaPlan plan = plan_arena(blocks);
  plan.offsets[1] = plan.offsets[0] + 256;
  EXPECT_EQ(broken(blocks, plan), "blocks 0 and 1 overlap");
}

}  // namespace
}  // namespace lockstep
