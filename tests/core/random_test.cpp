// Philox against the published known-answer vectors, and the promises of RandomSource.
#include "core/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace lockstep {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Random123, examples/kat_vectors, "philox4x32 10".
TEST(Philox, published_known_answers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomSource, equal_arguments_give_equal_values) {
  const RandomSource one(7, "dropout", 123);
  const RandomSource two(7, "dropout", 123);
  for (std::uint64_t draw = 0; draw < 100; ++draw) {
    EXPECT_EQ(one.bits(draw), two.bits(draw));
    EXPECT_EQ(one.normal(draw), two.normal(draw));
    EXPECT_EQ(one.below(draw, 1000), two.below(draw, 1000));
  }
}

TEST(RandomSource, every_bit_of_seed_and_index_and_every_purpose_matters) {
  std::set<std::uint64_t> seen;
  const auto add = [&seen](const RandomSource& source) {
    const Words words = source.block(0);
    return seen.insert(static_cast<std::uint64_t>(words[0]) << 32 | words[1]).second;
  };
  EXPECT_TRUE(add(RandomSource(0, "dropout", 0)));
  EXPECT_TRUE(add(RandomSource(0, "init", 0)));
  EXPECT_TRUE(add(RandomSource(0, "", 0)));
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_TRUE(add(RandomSource(1ULL << bit, "dropout", 0)));
    EXPECT_TRUE(add(RandomSource(0, "dropout", 1ULL << bit)));
  }
  EXPECT_FALSE(add(RandomSource(0, "dropout", 0)));  // negative control: the same again is not new
}

TEST(RandomSource, many_blocks_are_the_single_ones) {
  const RandomSource source(7, "many", 0x123456789abcULL);
  for (std::uint64_t first : {0ULL, 5ULL, 0xffffffffULL - 30, 1ULL << 40}) {
    for (std::size_t count : {0, 1, 63, 64, 65, 131}) {
      std::vector<Words> blocks(count + 1, Words{1, 2, 3, 4});
      source.blocks(first, std::span(blocks).first(count));
      for (std::size_t i = 0; i < count; ++i)
        EXPECT_EQ(blocks[i], source.block(first + i)) << first << " " << i;
      EXPECT_EQ(blocks[count], (Words{1, 2, 3, 4}));
    }
  }
}

TEST(RandomSource, bits_are_the_words_of_blocks) {
  const RandomSource source(1, "order", 2);
  for (std::uint64_t draw = 0; draw < 41; ++draw) {
    EXPECT_EQ(source.bits(draw), source.block(draw / 4)[draw % 4]);
  }
}

TEST(RandomSource, uniform_fills_the_unit_interval_evenly) {
  const RandomSource source(3, "uniform", 0);
  constexpr int kDraws = 64000;
  std::vector<int> bins(64);
  for (int draw = 0; draw < kDraws; ++draw) {
    const float value = source.uniform(static_cast<std::uint64_t>(draw));
    ASSERT_GE(value, 0.0F);
    ASSERT_LT(value, 1.0F);
    ++bins[static_cast<std::size_t>(value * 64)];
  }
  double chi_square = 0;
  for (const int count : bins) chi_square += std::pow(count - 1000.0, 2) / 1000.0;
  EXPECT_LT(chi_square, 120.0);  // 63 degrees of freedom: exceeded once in 10^5
  EXPECT_GT(chi_square, 25.0);
}

TEST(RandomSource, normal_has_the_moments_of_a_standard_normal) {
  const RandomSource source(3, "normal", 9);
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  double neighbours = 0;
  double previous = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const double value = source.normal(static_cast<std::uint64_t>(draw));
    sum += value;
    squares += value * value;
    fourths += value * value * value * value;
    neighbours += value * previous;
    previous = value;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.015);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.02);
  EXPECT_NEAR(fourths / kDraws, 3.0, 0.15);
  EXPECT_NEAR(neighbours / kDraws, 0.0, 0.015);
}

TEST(RandomSource, below_stays_below_and_reaches_everything) {
  const RandomSource source(11, "below", 0);
  for (const std::uint64_t bound : {1ULL, 2ULL, 3ULL, 7ULL, 97ULL}) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t draw = 0; draw < 3000; ++draw) {
      const std::uint64_t value = source.below(draw, bound);
      ASSERT_LT(value, bound);
      seen.insert(value);
    }
    EXPECT_EQ(seen.size(), bound);
  }
}

TEST(RandomSource, below_a_huge_bound_uses_its_upper_half) {
  const RandomSource source(11, "below", 1);
  const std::uint64_t bound = 3ULL << 62;
  double mean = 0;
  for (std::uint64_t draw = 0; draw < 10000; ++draw) {
    const std::uint64_t value = source.below(draw, bound);
    ASSERT_LT(value, bound);
    mean += static_cast<double>(value) / static_cast<double>(bound) / 10000.0;
  }
  EXPECT_NEAR(mean, 0.5, 0.015);
}

}  // namespace
}  // namespace lockstep
