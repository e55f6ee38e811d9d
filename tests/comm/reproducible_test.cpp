// World-size invariance: tree accumulation within ranks and halving-doubling across them sum in one balanced
// tree over the global microbatch index. Ranks are played one after another; their plans run in memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "comm/exchange.h"
#include "core/error.h"
#include "tests/comm/plans.h"

namespace lockstep::comm {
namespace {

using Array = std::vector<float>;

/// Gradients of `microbatches` global microbatches, with values that round when added.
std::vector<Array> microbatch_gradients(int microbatches, int count) {
  std::mt19937 generator(11);
  std::normal_distribution<float> normal;
  std::vector<Array> gradients(static_cast<std::size_t>(microbatches),
                               Array(static_cast<std::size_t>(count)));
  for (auto& gradient : gradients)
    std::generate(gradient.begin(), gradient.end(), [&] { return normal(generator); });
  return gradients;
}

/// The tree written down: left ceil(n/2), right floor(n/2).
float tree_sum(const std::vector<Array>& gradients, std::size_t first, std::size_t count,
               std::size_t element) {
  if (count == 1) return gradients[first][element];
  const std::size_t left = count - count / 2;
  return tree_sum(gradients, first, left, element) + tree_sum(gradients, first + left, count / 2, element);
}

/// One rank's accumulation, carrying `piece` elements at a time.
Array accumulated(std::span<const Array> gradients, std::int64_t piece, TreeAccumulator& tree,
                  Stream& stream) {
  const auto count = static_cast<std::int64_t>(gradients[0].size());
  FlatSpan target;
  for (std::size_t j = 0; j < gradients.size(); ++j) {
    target = tree.target(static_cast<int>(j));
    stream.synchronize();
    std::memcpy(target.data, gradients[j].data(), target.bytes());
    for (std::int64_t done = 0; done < count; done += piece) {
      tree.complete(static_cast<int>(j), std::min(done + piece, count), stream);
    }
  }
  stream.synchronize();
  const auto sum = target.as<float>();
  return {sum.begin(), sum.end()};
}

Array accumulated(std::span<const Array> gradients, std::int64_t piece) {
  const auto stream = make_stream(Device{});
  Array sum(gradients[0].size());
  const auto tree = make_tree_accumulator(flat(std::span(sum)), static_cast<int>(gradients.size()));
  EXPECT_EQ(tree->target(static_cast<int>(gradients.size()) - 1).data, sum.data());
  accumulated(gradients, piece, *tree, *stream);
  return sum;
}

/// Contiguous blocks of microbatches, as equal as possible, summed over ranks by `schedule`.
Array reproduced(const std::vector<Array>& gradients, int ranks, const std::string& schedule) {
  std::vector<Array> sums;
  for (int rank = 0; rank < ranks; ++rank) {
    const Range mine = chunk_of({0, static_cast<std::int64_t>(gradients.size())}, ranks, rank);
    sums.push_back(accumulated(std::span(gradients).subspan(static_cast<std::size_t>(mine.first),
                                                            static_cast<std::size_t>(mine.count)),
                               97));
  }
  run_plans(*schedule_named(schedule), sums);
  for (const auto& sum : sums)
    EXPECT_EQ(std::memcmp(sum.data(), sums[0].data(), sum.size() * sizeof(float)), 0);
  return sums[0];
}

/// The negative control: one after another within a rank, ring across ranks.
Array sequential_and_ring(const std::vector<Array>& gradients, int ranks) {
  std::vector<Array> sums;
  for (int rank = 0; rank < ranks; ++rank) {
    const Range mine = chunk_of({0, static_cast<std::int64_t>(gradients.size())}, ranks, rank);
    Array sum(gradients[0].size());
    for (std::int64_t j = mine.first; j < mine.first + mine.count; ++j) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += gradients[static_cast<std::size_t>(j)][i];
    }
    sums.push_back(sum);
  }
  run_plans(*schedule_named("ring"), sums);
  return sums[0];
}

std::size_t differing(const Array& a, const Array& b) {
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i) different += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  return different;
}

TEST(Tree, any_number_of_microbatches_sums_in_the_balanced_tree) {
  for (int microbatches = 1; microbatches <= 33; ++microbatches) {
    const auto gradients = microbatch_gradients(microbatches, 13);
    const Array sum = accumulated(gradients, 5);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      ASSERT_EQ(sum[i], tree_sum(gradients, 0, gradients.size(), i)) << microbatches << " microbatches";
    }
  }
}

TEST(Tree, carrying_in_pieces_gives_the_same_bits) {
  const auto gradients = microbatch_gradients(11, 1009);
  const Array whole = accumulated(gradients, 1009);
  for (std::int64_t piece : {1, 64, 1000})
    EXPECT_EQ(differing(accumulated(gradients, piece), whole), 0u) << piece;
}

TEST(Tree, holds_one_array_more_than_the_depth_of_the_tree) {
  Array gradients(3);
  for (int microbatches = 1; microbatches <= 128; ++microbatches) {
    const auto tree = make_tree_accumulator(flat(std::span(gradients)), microbatches);
    EXPECT_LE(tree->arrays(), std::ceil(std::log2(microbatches)) + 1) << microbatches;
  }
  EXPECT_EQ(make_tree_accumulator(flat(std::span(gradients)), 1)->arrays(), 1);
  EXPECT_EQ(make_tree_accumulator(flat(std::span(gradients)), 2)->arrays(), 2);
  EXPECT_EQ(make_tree_accumulator(flat(std::span(gradients)), 64)->arrays(), 7);
}

TEST(Tree, serves_many_steps) {
  const auto stream = make_stream(Device{});
  Array sum(97);
  const auto tree = make_tree_accumulator(flat(std::span(sum)), 6);
  const auto gradients = microbatch_gradients(6, 97);
  const Array first = accumulated(gradients, 10, *tree, *stream);
  const Array second = accumulated(gradients, 97, *tree, *stream);
  EXPECT_EQ(differing(first, second), 0u);
  EXPECT_EQ(differing(first, accumulated(gradients, 97)), 0u);
}

TEST(Tree, no_microbatches_or_a_wrong_one_is_refused) {
  const auto stream = make_stream(Device{});
  Array sum(4);
  EXPECT_THROW(make_tree_accumulator(flat(std::span(sum)), 0), Error);
  const auto tree = make_tree_accumulator(flat(std::span(sum)), 2);
  EXPECT_THROW(tree->target(2), Error);
  EXPECT_THROW(tree->target(-1), Error);
  EXPECT_THROW(tree->complete(0, 5, *stream), Error);
}

TEST(Reproducible, sums_at_1_2_4_8_ranks_have_the_same_bits) {
  for (int microbatches : {8, 16, 24, 40}) {
    const auto gradients = microbatch_gradients(microbatches, 4001);
    const Array alone = reproduced(gradients, 1, "halving_doubling");
    for (int ranks : {2, 4, 8}) {
      EXPECT_EQ(differing(reproduced(gradients, ranks, "halving_doubling"), alone), 0u) << ranks << " ranks";
      EXPECT_EQ(differing(reproduced(gradients, ranks, "recursive_doubling"), alone), 0u)
          << ranks << " ranks";
    }
  }
}

TEST(Reproducible, sequential_sums_and_ring_have_other_bits_at_other_rank_counts) {
  const auto gradients = microbatch_gradients(16, 4001);
  const Array alone = sequential_and_ring(gradients, 1);
  for (int ranks : {2, 4, 8})
    EXPECT_GT(differing(sequential_and_ring(gradients, ranks), alone), 1000u) << ranks;
}

TEST(Reproducible, tree_sums_with_ring_have_other_bits) {  // the tree within ranks alone is not enough
  const auto gradients = microbatch_gradients(16, 4001);
  EXPECT_GT(differing(reproduced(gradients, 8, "ring"), reproduced(gradients, 1, "ring")), 0u);
}

TEST(Reproducible, ragged_microbatches_at_3_ranks_sum_to_rounding_and_repeat) {
  const auto gradients = microbatch_gradients(16, 1009);
  const Array alone = reproduced(gradients, 1, "halving_doubling");
  const Array three = reproduced(gradients, 3, "halving_doubling");
  for (std::size_t i = 0; i < alone.size(); ++i) ASSERT_NEAR(three[i], alone[i], 16 * 4 * 0x1p-24);
  EXPECT_EQ(differing(three, reproduced(gradients, 3, "halving_doubling")), 0u);
}

}  // namespace
}  // namespace lockstep::comm
