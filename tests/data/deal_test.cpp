// Properties of the dealing that a whole run rests on: orders of huge sets without memory, orders that say
// nothing about each other, ranges of a larger set, and shards that only repeat when they must.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "data/sampler.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

std::vector<std::int64_t> order_of(std::uint64_t seed, std::int64_t epoch, std::int64_t size) {
  const EpochOrder order(seed, epoch, size);
  std::vector<std::int64_t> samples(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) samples[static_cast<std::size_t>(i)] = order(i);
  return samples;
}

TEST(HugeOrder, of_a_trillion_samples_has_no_repeats_and_stays_inside) {
  for (const std::int64_t size :
       {(std::int64_t{1} << 40) + 1, std::int64_t{1} << 40, (std::int64_t{1} << 41) - 1}) {
    const EpochOrder order(7, 3, size);
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < 20'000; ++i) {
      const std::int64_t position = i < 10'000 ? i : size - 1 - (i - 10'000);
      const std::int64_t sample = order(position);
      ASSERT_GE(sample, 0);
      ASSERT_LT(sample, size);
      seen.insert(sample);
    }
    EXPECT_EQ(seen.size(), 20'000U);
  }
}

/// Correlation of two orders of the same samples.
double correlation(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  const auto count = static_cast<double>(a.size());
  const double mean = (count - 1) / 2;
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += (static_cast<double>(a[i]) - mean) * (static_cast<double>(b[i]) - mean);
  }
  return product / (count * (count * count - 1) / 12);
}

TEST(Orders, of_other_seeds_and_epochs_are_uncorrelated) {
  constexpr std::int64_t kSize =
      4001;  // the correlation of two permutations has deviation 1 / sqrt(size - 1)
  const auto first = order_of(1, 0, kSize);
  EXPECT_NEAR(correlation(first, first), 1, 1e-9);
  for (const std::uint64_t seed : {2ULL, 3ULL, 1ULL << 32, ~0ULL}) {
    EXPECT_LT(std::abs(correlation(first, order_of(seed, 0, kSize))), 5 / std::sqrt(4000.0)) << seed;
  }
  for (std::int64_t epoch = 1; epoch < 20; ++epoch) {
    EXPECT_LT(std::abs(correlation(first, order_of(1, epoch, kSize))), 5 / std::sqrt(4000.0)) << epoch;
    EXPECT_LT(std::abs(correlation(order_of(1, epoch - 1, kSize), order_of(1, epoch, kSize))),
              5 / std::sqrt(4000.0));
  }
}

TEST(Orders, mix_every_block_of_samples_into_every_stretch_of_the_epoch) {
  // A file is read in order of its classes: each tenth of the epoch must hold about a tenth of each tenth.
  constexpr std::int64_t kSize = 10'000;
  const auto order = order_of(5, 2, kSize);
  std::vector<int> counts(100, 0);
  for (std::size_t i = 0; i < order.size(); ++i) {
    ++counts[i / 1000 * 10 + static_cast<std::size_t>(order[i] / 1000)];
  }
  double chi_square = 0;
  for (const int count : counts) chi_square += std::pow(count - 100.0, 2) / 100.0;
  EXPECT_LT(chi_square, 150);  // about 81 degrees of freedom
  EXPECT_GT(chi_square, 35);
}

TEST(Orders, every_pair_of_neighbours_is_about_equally_likely) {
  constexpr std::int64_t kSize = 5;
  std::vector<int> counts(25, 0);
  for (std::int64_t epoch = 0; epoch < 5000; ++epoch) {
    const auto order = order_of(9, epoch, kSize);
    for (std::size_t i = 1; i < order.size(); ++i)
      ++counts[static_cast<std::size_t>(order[i - 1] * 5 + order[i])];
  }
  for (std::size_t pair = 0; pair < 25; ++pair) {
    if (pair % 6 == 0) {
      EXPECT_EQ(counts[pair], 0) << "a sample does not follow itself";
    } else {
      EXPECT_NEAR(counts[pair], 1000, 160);  // five deviations
    }
  }
}

// ---- samplers

TEST(RangeSampler, deals_its_own_range_only) {
  const Sampler sampler({.begin = 100,
                         .samples = 37,
                         .microbatch = 4,
                         .shard = shard_of(0, 1, 3),
                         .tail = Tail::wrap,
                         .seed = 2});
  ASSERT_EQ(sampler.steps_per_epoch(), 4);
  std::vector<int> seen(37, 0);
  for (std::int64_t step = 0; step < 4; ++step) {
    for (std::int64_t j = 0; j < 3; ++j) {
      for (const auto sample : sampler.pick(step, j).samples) {
        ASSERT_GE(sample, 100);
        ASSERT_LT(sample, 137);
        ++seen[static_cast<std::size_t>(sample - 100)];
      }
    }
  }
  EXPECT_EQ(*std::ranges::min_element(seen), 1);
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 48);
}

TEST(RangeSampler, wrapped_samples_are_the_first_of_the_same_epoch) {
  const Sampler sampler(
      {.samples = 10, .microbatch = 4, .shard = shard_of(0, 1, 1), .tail = Tail::wrap, .seed = 3});
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto first = sampler.pick(3 * epoch, 0).samples;
    const auto last = sampler.pick(3 * epoch + 2, 0).samples;
    EXPECT_EQ(last[2], first[0]);
    EXPECT_EQ(last[3], first[1]);
  }
}

TEST(RangeSampler, stated_steps_win_over_what_the_samples_give) {
  SamplerOptions options{.samples = 10, .microbatch = 2, .shard = shard_of(0, 1, 1), .steps = 3};
  EXPECT_EQ(Sampler(options).steps_per_epoch(), 3);
  EXPECT_NE(Sampler(options).tail_note().find("4 of 10"), std::string::npos);
  options.steps = 7;
  EXPECT_NE(Sampler(options).tail_note().find("4 samples are seen twice"), std::string::npos);
  EXPECT_EQ(Sampler(options).pick(7, 0).epoch, 1);
}

TEST(RangeSampler, evaluation_repeats_the_last_sample_where_none_is_left) {
  const Sampler sampler({.samples = 5, .microbatch = 4, .shard = shard_of(0, 1, 1), .train = false});
  const auto part = sampler.pick(1, 0);
  EXPECT_EQ(part.samples, (std::vector<std::int64_t>{4, 4, 4, 4}));
  EXPECT_EQ(part.rows, 1);
  EXPECT_EQ(sampler.pick(2, 0).rows, 0);
  EXPECT_EQ(sampler.pick(2, 0).epoch, 0);
}

TEST(RangeSampler, nothing_to_deal_is_refused) {
  for (const SamplerOptions& bad :
       {SamplerOptions{.samples = 0, .train = false}, SamplerOptions{.samples = 0, .steps = 3},
        SamplerOptions{.samples = 5, .microbatch = 0}, SamplerOptions{.samples = 5, .shard = {.count = 0}}}) {
    EXPECT_EQ(error_of([&] { const Sampler sampler(bad); }).fault(), Fault::config);
  }
}

TEST(Shards, rank_outside_the_job_is_our_own_mistake) {
  for (const auto& [rank, ranks] : {std::pair(-1, 2), std::pair(2, 2), std::pair(0, 0)}) {
    EXPECT_EQ(error_of([&] { (void)shard_of(rank, ranks, 8); }).fault(), Fault::internal) << rank << ranks;
  }
}

TEST(Shards, first_ranks_take_one_more) {
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < 5; ++rank) counts.push_back(shard_of(rank, 5, 13).count);
  EXPECT_EQ(counts, (std::vector<std::int64_t>{3, 3, 3, 2, 2}));
  EXPECT_EQ(shard_of(4, 5, 13).per_step, 13);
  EXPECT_EQ(shard_of(4, 5, 13).rank, 4);
  EXPECT_EQ(shard_of(4, 5, 13).ranks, 5);
}

}  // namespace
}  // namespace lockstep::data
