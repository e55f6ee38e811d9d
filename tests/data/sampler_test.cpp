// The dealing of samples: an epoch's order is a permutation, shards tile the steps, and any step is found
// without replay.
#include "data/sampler.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "data_files.h"

namespace lockstep::data {
namespace {

std::vector<std::int64_t> order_of(std::uint64_t seed, std::int64_t epoch, std::int64_t size) {
  const EpochOrder order(seed, epoch, size);
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < size; ++i) samples.push_back(order(i));
  return samples;
}

/// Samples of one epoch, microbatch by microbatch, as `ranks` ranks take them.
std::vector<std::int64_t> epoch_of(SamplerOptions options, int ranks, std::int64_t per_step,
                                   std::int64_t epoch) {
  std::vector<std::pair<std::int64_t, std::vector<std::int64_t>>> dealt;
  for (int rank = 0; rank < ranks; ++rank) {
    options.shard = shard_of(rank, ranks, per_step);
    const Sampler sampler(options);
    const std::int64_t steps = sampler.steps_per_epoch();
    for (std::int64_t step = epoch * steps; step < (epoch + 1) * steps; ++step) {
      for (std::int64_t j = 0; j < options.shard.count; ++j) {
        const auto pick = sampler.pick(step, options.shard.first + j);
        dealt.emplace_back(pick.first_position, pick.samples);
      }
    }
  }
  std::ranges::sort(dealt);
  std::vector<std::int64_t> samples;
  for (const auto& [position, picked] : dealt) samples.insert(samples.end(), picked.begin(), picked.end());
  return samples;
}

TEST(EpochOrder, any_size_is_a_permutation) {
  for (const std::int64_t size : {1, 2, 3, 7, 16, 17, 255, 256, 257, 1000, 4099, 65537}) {
    auto samples = order_of(1, 0, size);
    std::ranges::sort(samples);
    std::vector<std::int64_t> all(static_cast<std::size_t>(size));
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(samples, all) << size;
  }
}

TEST(EpochOrder, seed_and_epoch_change_the_order) {
  EXPECT_EQ(order_of(1, 0, 1000), order_of(1, 0, 1000));
  EXPECT_NE(order_of(1, 0, 1000), order_of(1, 1, 1000));
  EXPECT_NE(order_of(1, 0, 1000), order_of(2, 0, 1000));
}

TEST(EpochOrder, looks_shuffled_not_shifted) {
  // Of 10,000 neighbouring pairs about 2 stay neighbours by chance, and positions are uncorrelated with
  // samples: the mean of |order(i) - i| of a random permutation is n / 3.
  const std::int64_t size = 10007;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    const auto samples = order_of(3, epoch, size);
    int neighbours = 0;
    double distance = 0;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (i > 0 && samples[i] == samples[i - 1] + 1) ++neighbours;
      distance += std::abs(static_cast<double>(samples[i]) - static_cast<double>(i));
    }
    EXPECT_LT(neighbours, 12);
    EXPECT_NEAR(distance / static_cast<double>(size * size), 1.0 / 3, 0.02);
  }
}

TEST(EpochOrder, every_sample_visits_every_place_about_equally_often) {
  std::vector<int> count(7 * 7, 0);
  for (std::int64_t epoch = 0; epoch < 7000; ++epoch) {
    const auto samples = order_of(5, epoch, 7);
    for (std::size_t i = 0; i < 7; ++i) ++count[i * 7 + static_cast<std::size_t>(samples[i])];
  }
  for (const int visits : count) EXPECT_NEAR(visits, 1000, 150);  // five standard deviations
}

TEST(ShardOf, ranks_tile_the_microbatches) {
  for (const int ranks : {1, 2, 3, 4, 5, 8, 17}) {
    for (const std::int64_t microbatches : {17, 24, 101}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const auto shard = shard_of(rank, ranks, microbatches);
        EXPECT_EQ(shard.first, next);
        EXPECT_GE(shard.count, microbatches / ranks);
        EXPECT_LE(shard.count, microbatches / ranks + 1);
        next += shard.count;
      }
      EXPECT_EQ(next, microbatches);
    }
  }
}

TEST(ShardOf, more_ranks_than_microbatches_is_refused_with_both_numbers) {
  const auto error = error_of([] { (void)shard_of(0, 8, 4); });
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "8 ranks") && mentions(error, "4 microbatches")) << error.what();
}

class EveryDeal : public testing::TestWithParam<std::tuple<int, int, Tail>> {};

TEST_P(EveryDeal, epoch_holds_every_sample_exactly_once_but_for_the_tail) {
  const auto [ranks, samples, tail] = GetParam();
  constexpr std::int64_t kMicrobatch = 3;
  constexpr std::int64_t kPerStep = 8;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto dealt = epoch_of({.samples = samples, .microbatch = kMicrobatch, .tail = tail, .seed = 11},
                                ranks, kPerStep, epoch);
    std::vector<int> seen(static_cast<std::size_t>(samples), 0);
    for (const auto sample : dealt) ++seen[static_cast<std::size_t>(sample)];
    const std::int64_t step = kMicrobatch * kPerStep;
    if (tail == Tail::drop) {
      EXPECT_EQ(static_cast<std::int64_t>(dealt.size()), samples / step * step);
      EXPECT_LE(*std::ranges::max_element(seen), 1);
      EXPECT_EQ(std::ranges::count(seen, 0), samples % step);
    } else {
      EXPECT_EQ(static_cast<std::int64_t>(dealt.size()), (samples + step - 1) / step * step);
      EXPECT_GE(*std::ranges::min_element(seen), 1);
    }
  }
}

TEST_P(EveryDeal, union_over_ranks_equals_the_one_rank_sequence) {
  const auto [ranks, samples, tail] = GetParam();
  const SamplerOptions options{.samples = samples, .microbatch = 3, .tail = tail, .seed = 4};
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    EXPECT_EQ(epoch_of(options, ranks, 8, epoch), epoch_of(options, 1, 8, epoch));
  }
}

TEST_P(EveryDeal, evaluation_covers_every_sample_once_in_order) {
  const auto [ranks, samples, tail] = GetParam();
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto shard = shard_of(rank, ranks, 8);
    const Sampler sampler(
        {.samples = samples, .microbatch = 3, .shard = shard, .tail = tail, .train = false});
    for (std::int64_t step = 0; step < sampler.steps_per_epoch() + 2; ++step) {
      for (std::int64_t j = shard.first; j < shard.first + shard.count; ++j) {
        const auto pick = sampler.pick(step, j);
        EXPECT_EQ(pick.samples.size(), 3U);
        for (std::int64_t row = 0; row < pick.rows; ++row) {
          seen.emplace_back(pick.first_position + row, pick.samples[static_cast<std::size_t>(row)]);
        }
      }
    }
  }
  std::ranges::sort(seen);
  ASSERT_EQ(static_cast<int>(seen.size()), samples);
  for (std::int64_t i = 0; i < samples; ++i) {
    EXPECT_EQ(seen[static_cast<std::size_t>(i)], std::pair(i, i));
  }
}

INSTANTIATE_TEST_SUITE_P(RanksSizesTails, EveryDeal,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5, 8),
                                          testing::Values(24, 25, 47, 101, 997),
                                          testing::Values(Tail::drop, Tail::wrap)));

TEST(Sampler, positions_number_samples_across_epochs) {
  const Sampler sampler({.samples = 10, .microbatch = 2, .shard = shard_of(1, 2, 2), .seed = 1});
  ASSERT_EQ(sampler.steps_per_epoch(), 2);
  const auto pick = sampler.pick(5, 1);
  EXPECT_EQ(pick.epoch, 2);
  EXPECT_EQ(pick.first_position, (5 * 2 + 1) * 2);
  EXPECT_EQ(pick.rows, 2);
}

TEST(Sampler, unshuffled_samples_come_as_stored_in_every_epoch_at_any_number_of_ranks) {
  for (const int ranks : {1, 2, 3}) {
    SamplerOptions options{.samples = 26, .microbatch = 2, .tail = Tail::drop, .shuffle = false, .seed = 9};
    std::vector<std::int64_t> stored(24);
    std::iota(stored.begin(), stored.end(), 0);
    for (std::int64_t epoch = 0; epoch < 2; ++epoch)
      EXPECT_EQ(epoch_of(options, ranks, 4, epoch), stored) << ranks << " ranks";
    options.tail = Tail::wrap;
    const std::vector<std::int64_t> more{24, 25, 0, 1, 2, 3, 4, 5};
    stored.insert(stored.end(), more.begin(), more.end());
    EXPECT_EQ(epoch_of(options, ranks, 4, 1), stored) << ranks << " ranks";
  }
}

TEST(Sampler, no_full_step_is_refused_unless_wrapped) {
  const SamplerOptions options{.samples = 5, .microbatch = 4, .shard = shard_of(0, 1, 2)};
  const auto error = error_of([&] { const Sampler sampler(options); });
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "8 samples") && mentions(error, "only 5")) << error.what();
  auto wrapped = options;
  wrapped.tail = Tail::wrap;
  EXPECT_EQ(Sampler(wrapped).steps_per_epoch(), 1);
}

TEST(Sampler, tail_note_counts_what_fills_no_step) {
  SamplerOptions options{.samples = 103, .microbatch = 5, .shard = shard_of(0, 1, 4)};
  EXPECT_NE(Sampler(options).tail_note().find("3 of 103 samples, other ones"), std::string::npos);
  options.shuffle = false;
  EXPECT_NE(Sampler(options).tail_note().find("3 of 103 samples, the same ones"), std::string::npos);
  options.tail = Tail::wrap;
  EXPECT_NE(Sampler(options).tail_note().find("17 samples"), std::string::npos);
  options.samples = 100;
  EXPECT_EQ(Sampler(options).tail_note(), "");
}

}  // namespace
}  // namespace lockstep::data
