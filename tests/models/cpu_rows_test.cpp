// The row loops that the CPU kernels are made of, against the same sums in double: activations and their
// slopes, residual sums, column sums, and the softmax of causal attention.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/random.h"
#include "models/ops/cpu/attention_loops.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> noise(std::int64_t count, std::uint64_t seed, float scale = 1) {
  const RandomSource random(seed, "rows", 0);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * random.normal(i);
  return values;
}

double gelu(double x, Activation activation) {
  if (activation == Activation::gelu_exact) return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
double slope(double x, Activation activation) {
  return (gelu(x + 1e-5, activation) - gelu(x - 1e-5, activation)) / 2e-5;
}

TEST(Element, powers_of_two_are_exact_to_a_few_units) {
  for (float x = -124.75F; x <= 124.75F; x += 0.01F)
    EXPECT_NEAR(fast_exp2(x) / std::exp2(double{x}), 1, 4e-7) << x;
  for (const int whole : {-124, -1, 0, 1, 124})
    EXPECT_EQ(fast_exp2(static_cast<float>(whole)), std::ldexp(1.0F, whole));
}

TEST(Element, powers_of_two_beyond_the_range_are_the_last_ones) {
  for (const float far : {126.5F, 1e4F, 1e30F, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(fast_exp2(far), fast_exp2(125.0F)) << far;
    EXPECT_EQ(fast_exp2(-far), fast_exp2(-125.0F)) << far;
    EXPECT_TRUE(std::isnormal(fast_exp2(-far))) << "denormal numbers are slow";
  }
}

class GeluRows : public ::testing::TestWithParam<Activation> {};

TEST_P(GeluRows, give_value_and_slope) {
  for (const Rows rows : {Rows{1, 1}, Rows{3, 17}, Rows{40, 64}}) {
    const std::int64_t count = rows.count * rows.width;
    const auto x = noise(count, 1, 3);
    const auto bias = noise(rows.width, 2);
    std::vector<float> y(x.size()), slopes(x.size());
    bias_activation<float>({x.data(), slopes.data(), y.data(), bias.data()}, rows, {GetParam(), 0}, 2);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double z = x[i] + bias[i % static_cast<std::size_t>(rows.width)];
      EXPECT_NEAR(y[i], gelu(z, GetParam()), 2e-6) << z;
      EXPECT_NEAR(slopes[i], slope(z, GetParam()), 2e-6) << z;
    }
  }
}

TEST_P(GeluRows, end_at_zero_and_at_the_identity) {
  std::vector<float> x{-1e4F, -400, -30, 30, 400, 1e4F, 0, -0.0F}, y(8), slopes(8);
  bias_activation<float>({x.data(), slopes.data(), y.data(), nullptr}, {1, 8}, {GetParam(), 0}, 1);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(y[i], std::max(x[i], 0.0F), 1e-6 * std::abs(x[i])) << x[i];
    EXPECT_NEAR(slopes[i], x[i] == 0 ? 0.5F : x[i] > 0 ? 1.0F : 0.0F, 1e-6) << x[i];
  }
}

TEST_P(GeluRows, let_nan_through) {
  std::vector<float> x(16, 0.5F), y(16), slopes(16);
  x[5] = kNan;
  bias_activation<float>({x.data(), slopes.data(), y.data(), nullptr}, {2, 8}, {GetParam(), 0}, 1);
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(std::isnan(y[i]), i == 5);
    EXPECT_EQ(std::isnan(slopes[i]), i == 5);
  }
}

INSTANTIATE_TEST_SUITE_P(Both, GeluRows, ::testing::Values(Activation::gelu_tanh, Activation::gelu_exact));

TEST(Rows, residual_is_added_after_the_bias) {
  const Rows rows{5, 19};
  const auto x = noise(95, 3), residual = noise(95, 4), bias = noise(19, 5);
  for (const bool with_bias : {true, false}) {
    std::vector<float> y = x;  // in place
    bias_residual<float>({y.data(), residual.data(), y.data(), with_bias ? bias.data() : nullptr}, rows, 2);
    for (std::size_t i = 0; i < y.size(); ++i)
      EXPECT_EQ(y[i], (with_bias ? x[i] + bias[i % 19] : x[i]) + residual[i]);
  }
}

TEST(Rows, scaling_leaves_the_sums_of_its_columns) {
  const Rows rows{2000, 33};  // several blocks
  const auto slopes = noise(66000, 6), x = noise(66000, 7);
  std::vector<float> scratch(column_sums_bytes(rows) / sizeof(float));
  for (const bool add : {false, true}) {
    std::vector<float> scaled = x, sums(33, 100.0F);
    scale_rows<float>({slopes.data(), scaled.data(), sums.data(), add, scratch.data()}, rows, 2);
    std::vector<float> alone(33, 100.0F);
    column_sums(scaled.data(), rows, alone.data(), add, scratch.data(), 1);
    EXPECT_EQ(sums, alone);
    std::vector<double> wanted(33, add ? 100.0 : 0.0);
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(scaled[i], x[i] * slopes[i]);
      wanted[i % 33] += double{x[i]} * slopes[i];
    }
    for (std::size_t c = 0; c < 33; ++c) EXPECT_NEAR(sums[c], wanted[c], 1e-3);
  }
}

TEST(Rows, scaling_without_sums_only_scales) {
  std::vector<float> x{1, 2, 3}, slopes{2, 0, -1};
  scale_rows<float>({slopes.data(), x.data(), nullptr, false, nullptr}, {1, 3}, 1);
  EXPECT_EQ(x, (std::vector<float>{2, 0, -3}));
}

/// A block of scores of queries [first, keys) whose rows hold NaN beyond their keys.
struct Scores {
  std::int64_t first, keys, stride = row_stride(keys);
  std::vector<float> values;
  Scores(std::int64_t first_query, std::int64_t all, std::uint64_t seed) : first(first_query), keys(all) {
    values = noise(rows() * stride, seed, 4);
    for (std::int64_t row = 0; row < rows(); ++row)
      for (std::int64_t key = keys; key < stride; ++key) at(row, key) = kNan;
  }
  [[nodiscard]] std::int64_t rows() const { return keys - first; }
  float& at(std::int64_t row, std::int64_t key) {
    return values[static_cast<std::size_t>(row * stride + key)];
  }
  ScoreBlock block() { return {values.data(), first, rows(), keys, stride}; }
};

/// (first query, keys)
class CausalRows : public ::testing::TestWithParam<std::pair<std::int64_t, std::int64_t>> {};

TEST_P(CausalRows, softmax_sees_the_past_only) {
  Scores scores(GetParam().first, GetParam().second, 8);
  Scores softmax = scores;
  std::vector<float> log_sums(static_cast<std::size_t>(scores.rows()));
  causal_softmax(softmax.block(), log_sums.data());
  for (std::int64_t row = 0; row < scores.rows(); ++row) {
    double sum = 0;
    for (std::int64_t key = 0; key <= scores.first + row; ++key) sum += std::exp(double{scores.at(row, key)});
    EXPECT_NEAR(log_sums[static_cast<std::size_t>(row)], std::log(sum), 1e-5);
    for (std::int64_t key = 0; key < scores.keys; ++key) {
      const double wanted = key <= scores.first + row ? std::exp(double{scores.at(row, key)}) / sum : 0;
      EXPECT_NEAR(softmax.at(row, key), wanted, 1e-6) << row << ", " << key;
    }
  }
  Scores again = scores;
  causal_probabilities(again.block(), log_sums.data());
  for (std::int64_t row = 0; row < scores.rows(); ++row)
    for (std::int64_t key = 0; key < scores.keys; ++key)
      EXPECT_NEAR(again.at(row, key), softmax.at(row, key), 2e-6);
}

TEST_P(CausalRows, gradient_is_that_of_a_softmax) {
  Scores p(GetParam().first, GetParam().second, 9);
  std::vector<float> log_sums(static_cast<std::size_t>(p.rows()));
  causal_softmax(p.block(), log_sums.data());
  Scores g(GetParam().first, GetParam().second, 10);
  Scores result = g;
  softmax_gradient(p.block(), result.values.data());
  for (std::int64_t row = 0; row < p.rows(); ++row) {
    double common = 0;
    for (std::int64_t key = 0; key <= p.first + row; ++key) common += double{p.at(row, key)} * g.at(row, key);
    for (std::int64_t key = 0; key < p.keys; ++key) {
      const double wanted = key <= p.first + row ? p.at(row, key) * (g.at(row, key) - common) : 0;
      EXPECT_NEAR(result.at(row, key), wanted, 1e-5) << row << ", " << key;
    }
  }
}

TEST_P(CausalRows, nan_among_the_scores_is_not_hidden) {
  Scores scores(GetParam().first, GetParam().second, 11);
  scores.at(scores.rows() - 1, 0) = kNan;
  std::vector<float> log_sums(static_cast<std::size_t>(scores.rows()));
  causal_softmax(scores.block(), log_sums.data());
  EXPECT_TRUE(std::isnan(log_sums.back()));
}

INSTANTIATE_TEST_SUITE_P(Sizes, CausalRows,
                         ::testing::Values(std::pair{0, 1}, std::pair{0, 15}, std::pair{0, 16},
                                           std::pair{0, 17}, std::pair{5, 40}, std::pair{64, 131}));

}  // namespace
}  // namespace lockstep::models::cpu
