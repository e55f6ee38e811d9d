// Laws of single compressors by name: how far a code may be off, what PowerSGD's rest is orthogonal to, what
// DGC becomes at its neutral settings, what a vote depends on. Each beside a case that must fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/comm/compress_lab.h"

namespace lockstep::comm::compress {
namespace {

const Gradient kNoise = [](int rank, std::int64_t step) { return normals(1024, rank, step); };

double square(const Values& x) { return length(x) * length(x); }

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// ---- contracts: ||C(x) - x||^2 <= (1 - delta) ||x||^2, or no bias and a bounded variance

TEST(Contract, the_largest_k_leave_less_than_k_random_ones) {
  const Values x = kNoise(0, 0);
  for (const auto& [density, part] : {std::pair{"0.01", 10.0 / 1024}, std::pair{"0.25", 0.25}}) {
    const Lab lab{.compressor = "topk", .settings = {{"density", density}}};
    const double left = square(run(lab, 1, kNoise).residual(0, lab.shape)) / square(x);
    EXPECT_LE(left, 1 - part);
    EXPECT_LT(left, 1 - 2 * part) << "of normal numbers the largest hold far more than their share";
    Lab control = lab;
    control.compressor = "random_k";
    EXPECT_GT(square(run(control, 1, kNoise).residual(0, lab.shape)) / square(x), 1 - 2 * part);
  }
}

TEST(Contract, signs_keep_the_square_of_the_mean_magnitude) {
  // One block: delta = ||x||_1^2 / (d ||x||_2^2), met with equality up to the 8 bits of the scale. The owner
  // encodes signs of one magnitude, which loses nothing.
  const Lab lab{.compressor = "ef_sign"};
  const Values x = kNoise(0, 0);
  double magnitudes = 0;
  for (const float each : x) magnitudes += std::abs(static_cast<double>(each));
  const double delta = magnitudes * magnitudes / (1024 * square(x));
  const Result result = run(lab, 1, kNoise);
  EXPECT_NEAR(square(result.residual(0, lab.shape)) / square(x), 1 - delta, 1e-4);
  EXPECT_EQ(length(result.kept("owner", 0, lab.shape)), 0);
}

TEST(Contract, random_k_without_feedback_has_no_bias_and_the_stated_variance) {
  // Right in the mean, with E ||Q(x) - x||^2 = (d / k - 1) ||x||^2.
  constexpr int kDraws = 80;
  const Values x = kNoise(0, 0);
  std::vector<double> mean(x.size());
  double variance = 0;
  for (int draw = 1; draw <= kDraws; ++draw) {  // the last step's draw differs
    const Result result = run(
        {.compressor = "random_k", .settings = {{"density", "0.25"}, {"feedback", "false"}}, .steps = draw},
        1, [&](int, std::int64_t) { return x; });
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double off = static_cast<double>(result.sum[i]) - static_cast<double>(x[i]);
      mean[i] += off / kDraws;
      variance += off * off / kDraws;
    }
  }
  EXPECT_NEAR(variance / square(x), 3, 0.15);
  // Each element is 0 or 4 x: its mean over draws deviates by sqrt(3 / draws) |x|.
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_LT(std::abs(mean[i]), 5.5 * std::sqrt(3.0 / kDraws) * std::abs(static_cast<double>(x[i]))) << i;
  const Result kept = run({.compressor = "random_k", .settings = {{"density", "0.25"}}}, 1, kNoise);
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_LE(std::abs(kept.sum[i]), std::abs(x[i]));  // control
}

TEST(Contract, random_k_feeds_back_with_adam_only_when_told_to) {
  using Settings = std::vector<std::pair<std::string, std::string>>;
  const auto keeps = [](MomentumKind momentum, const Settings& settings) {
    const Lab lab{.compressor = "random_k", .settings = settings, .momentum_kind = momentum};
    return StateReader(run(lab, 3, kNoise).states[0]).scope("residual").has("w");
  };
  EXPECT_FALSE(keeps(MomentumKind::average, {}));
  EXPECT_TRUE(keeps(MomentumKind::average, {{"adam_feedback", "true"}}));
  EXPECT_FALSE(keeps(MomentumKind::average, {{"adam_feedback", "true"}, {"feedback", "false"}}));
  EXPECT_TRUE(keeps(MomentumKind::heavy_ball, {}));
  EXPECT_TRUE(keeps(MomentumKind::none, {}));
}

// ---- the owner applies what it sent, not what it had

TEST(TwoShot, an_owner_that_applied_its_own_mean_would_hold_other_bits) {
  const Lab lab{.compressor = "int8", .settings = {{"feedback", "true"}}};
  const Result result = run(lab, 3, kNoise);
  int unlike = 0;
  for (int rank = 0; rank < 3; ++rank) {
    // Every owner saves the part of the slot that it owns; elsewhere zeros.
    const Values owed = result.kept("owner", rank, lab.shape);
    for (std::size_t i = 0; i < owed.size(); ++i) unlike += result.sum[i] + 3 * owed[i] != result.sum[i];
  }
  EXPECT_GT(unlike, 900) << "of 1024: the second rounding lost nothing, and the law was not put to the test";
}

// ---- PowerSGD

TEST(PowerSgd, the_rest_is_orthogonal_to_what_was_sent) {
  // The mean is P Q^T with orthonormal P, the rest (I - P P^T) M: so mean^T rest = 0, column by column.
  const Lab lab{.compressor = "powersgd", .settings = {{"rank", "2"}}, .steps = 3};
  const Result result = run(lab, 3, kNoise);
  const auto column = [](const Values& matrix, std::size_t at) {
    Values values;
    for (std::size_t row = 0; row < 32; ++row) values.push_back(matrix[row * 32 + at]);
    return values;
  };
  double worst = 0, control = 0;
  for (int rank = 0; rank < 3; ++rank) {
    const Values rest = result.residual(rank, lab.shape);
    const Values whole = kNoise(rank, 2);
    for (std::size_t i = 0; i < 32; ++i) {
      for (std::size_t j = 0; j < 32; ++j) {
        const Values sent = column(result.sum, i);
        const Values left = column(rest, j), had = column(whole, j);
        worst = std::max(worst, std::abs(dot(sent, left)) / (length(sent) * length(left)));
        control = std::max(control, std::abs(dot(sent, had)) / (length(sent) * length(had)));
      }
    }
  }
  EXPECT_LT(worst, 1e-5);
  EXPECT_GT(control, 0.1) << "a gradient is not orthogonal to what is sent of it";
}

// ---- DGC

Lab dgc(const char* mask, int steps) {
  return {.compressor = "dgc",
          .settings = {{"density", "1"}, {"mask", mask}, {"warmup_steps", "0"}},
          .steps = steps,
          .momentum = 0.5f};
}

TEST(Dgc, masked_and_sending_all_it_is_plain_descent) {
  for (const int ranks : {1, 3}) {
    Values last(1024, 0.0f), momentum(1024, 0.0f);
    for (std::int64_t step = 0; step < 4; ++step) {
      std::fill(last.begin(), last.end(), 0.0f);
      for (int rank = 0; rank < ranks; ++rank) {
        const Values own = kNoise(rank, step);
        for (std::size_t i = 0; i < own.size(); ++i) last[i] += own[i];
      }
      for (std::size_t i = 0; i < last.size(); ++i) momentum[i] = 0.5f * momentum[i] + last[i];
    }
    EXPECT_LT(relative_error(run(dgc("true", 4), ranks, kNoise).sum, last), 1e-6) << ranks;
    EXPECT_LT(relative_error(run(dgc("false", 4), ranks, kNoise).sum, momentum), 1e-6) << ranks;
    EXPECT_GT(relative_error(momentum, last), 0.1);  // control: the two laws are not one
  }
}

TEST(Dgc, warm_up_sends_a_quarter_and_less_in_four_stages) {
  const auto sent_after = [](int steps) {
    const Result result =
        run({.compressor = "dgc", .settings = {{"density", "0.01"}, {"warmup_steps", "8"}}, .steps = steps},
            1, kNoise);
    return std::count_if(result.sum.begin(), result.sum.end(), [](float x) { return x != 0; });
  };
  const std::vector<std::int64_t> expected{256, 256, 64, 64, 16, 16, 10, 10, 10, 10};  // of 1024
  for (std::size_t step = 0; step < expected.size(); ++step)
    EXPECT_EQ(sent_after(static_cast<int>(step) + 1), expected[step]) << "step " << step;
}

// ---- votes

TEST(SignVote, alone_it_is_the_sign) {
  const Lab unit{.compressor = "sign_vote", .settings = {{"magnitude", "unit"}}};
  const Values x = kNoise(0, 0);
  const Result result = run(unit, 1, kNoise);
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(result.sum[i], x[i] > 0 ? 1.0f : -1.0f);
}

TEST(SignVote, one_rank_decides_where_the_others_nearly_agree) {
  // Another sign of one voter moves the count by 2: it shows only where the count is at most 2 now.
  const Lab unit{.compressor = "sign_vote", .settings = {{"magnitude", "unit"}}};
  for (const int ranks : {3, 4}) {
    const Gradient turned = [](int rank, std::int64_t step) {
      Values values = kNoise(rank, step);
      if (rank == 1) std::transform(values.begin(), values.end(), values.begin(), std::negate<>());
      return values;
    };
    const Values before = run(unit, ranks, kNoise).sum, after = run(unit, ranks, turned).sum;
    std::int64_t changed = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      int count = 0;
      for (int rank = 0; rank < ranks; ++rank) count += kNoise(rank, 0)[i] > 0 ? 1 : -1;
      if (before[i] == after[i]) continue;
      ++changed;
      ASSERT_LE(std::abs(count), 2) << i;
    }
    EXPECT_GT(changed, 100) << "else nothing was put to the test";
  }
}

}  // namespace
}  // namespace lockstep::comm::compress
