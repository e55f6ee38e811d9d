// Mean and deviation as importers store them: laws that hold wherever the values lie. The deviation divides
// every input, so a constant channel must not get a tiny one from rounding.
#include "data/statistics.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/random.h"
#include "data/dataset.h"

namespace lockstep::data {
namespace {

template <class T>
ChannelStatistics of(const Shape& sample, const std::vector<T>& values) {
  ChannelStatistics statistics({"x", dtype_of<T>, sample});
  const auto count = static_cast<std::int64_t>(values.size()) / std::max<std::int64_t>(1, sample.count());
  EXPECT_TRUE(statistics.add(reinterpret_cast<const std::byte*>(values.data()), count));
  return statistics;
}

std::vector<double> noise(std::size_t count, double mean, double deviation) {
  const RandomSource random(5, "statistics", 0);
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = mean + deviation * static_cast<double>(random.normal(i));
  return values;
}

class ConstantChannel : public testing::TestWithParam<double> {};

TEST_P(ConstantChannel, has_a_deviation_of_one_at_any_count) {
  for (const std::size_t count : {1, 2, 3, 7, 60, 1009, 65536}) {
    const auto doubles = of(Shape{}, std::vector<double>(count, GetParam()));
    EXPECT_EQ(doubles.deviation(), std::vector<double>{1}) << count;
    EXPECT_EQ(doubles.mean(), std::vector<double>{GetParam()}) << count;
    const auto floats = of(Shape{}, std::vector<float>(count, static_cast<float>(GetParam())));
    EXPECT_EQ(floats.deviation(), std::vector<double>{1}) << count;
  }
}
INSTANTIATE_TEST_SUITE_P(values, ConstantChannel,
                         testing::Values(0.0, 0.1, -0.3, 280.15, 101325.0, 1e-30, 1e12));

TEST(ConstantChannels, of_bytes_have_a_deviation_of_one) {
  for (int value = 0; value < 256; ++value) {
    const auto statistics =
        of(Shape{1, 3, 3}, std::vector<std::uint8_t>(9 * 11, static_cast<std::uint8_t>(value)));
    EXPECT_EQ(statistics.deviation(), std::vector<double>{1}) << value;
    EXPECT_DOUBLE_EQ(statistics.mean()[0], value / 255.0);
  }
}

TEST(ConstantChannels, beside_others_stay_apart_from_them) {
  const auto statistics = of(Shape{3, 1, 1}, std::vector<double>{0.1, 1, 7, 0.1, 3, 7, 0.1, 5, 7});
  EXPECT_EQ(statistics.mean(), (std::vector<double>{0.1, 3, 7}));
  EXPECT_EQ(statistics.deviation()[0], 1);
  EXPECT_DOUBLE_EQ(statistics.deviation()[1], std::sqrt(8.0 / 3));
  EXPECT_EQ(statistics.deviation()[2], 1);
}

TEST(Statistics, a_shift_moves_the_mean_and_leaves_the_deviation) {
  const auto still = of(Shape{}, noise(4096, 0, 1));
  for (const double shift : {1.0, -280.0, 1e5, 1e9, -1e12}) {
    const auto moved = of(Shape{}, noise(4096, shift, 1));
    EXPECT_NEAR(moved.mean()[0], still.mean()[0] + shift, 1e-12 * std::abs(shift) + 1e-12) << shift;
    EXPECT_NEAR(moved.deviation()[0], still.deviation()[0], 1e-15 * std::abs(shift) + 1e-9) << shift;
  }
}

TEST(Statistics, a_factor_scales_both) {
  const auto one = of(Shape{}, noise(1009, 3, 0.5));
  for (const double factor : {0x1p-40, 0.5, 4.0, 0x1p60}) {
    std::vector<double> values = noise(1009, 3, 0.5);
    for (double& value : values) value *= factor;
    const auto scaled = of(Shape{}, values);
    EXPECT_EQ(scaled.mean()[0], one.mean()[0] * factor) << "powers of two are exact";
    EXPECT_EQ(scaled.deviation()[0], one.deviation()[0] * factor);
  }
}

TEST(Statistics, normalised_values_have_mean_zero_and_deviation_one) {
  std::vector<double> values = noise(2048, 101325, 700);
  const auto statistics = of(Shape{}, values);
  for (double& value : values) value = (value - statistics.mean()[0]) / statistics.deviation()[0];
  const auto normalised = of(Shape{}, values);
  EXPECT_NEAR(normalised.mean()[0], 0, 1e-10);
  EXPECT_NEAR(normalised.deviation()[0], 1, 1e-10);
}

TEST(Statistics, blocks_of_any_size_give_what_the_whole_gives) {
  const std::vector<double> values = noise(6 * 97, 10, 2);
  const auto whole = of(Shape{2, 3, 1}, values);
  for (const std::int64_t block : {1, 2, 31, 96, 97}) {
    ChannelStatistics parts({"x", Dtype::f64, Shape{2, 3, 1}});
    for (std::int64_t first = 0; first < 97; first += block)
      EXPECT_TRUE(parts.add(reinterpret_cast<const std::byte*>(values.data() + 6 * first),
                            std::min<std::int64_t>(block, 97 - first)));
    EXPECT_EQ(parts.mean(), whole.mean()) << block;
    EXPECT_EQ(parts.deviation(), whole.deviation()) << block;
  }
}

TEST(Statistics, integers_of_every_width_count_as_numbers_and_bytes_in_parts_of_255) {
  EXPECT_EQ(of(Shape{}, std::vector<std::int64_t>{-4, 4}).deviation(), std::vector<double>{4});
  EXPECT_EQ(of(Shape{}, std::vector<std::int32_t>{10, 20}).mean(), std::vector<double>{15});
  EXPECT_EQ(of(Shape{}, std::vector<std::uint16_t>{65535, 65533}).deviation(), std::vector<double>{1});
  EXPECT_EQ(of(Shape{}, std::vector<std::uint8_t>{0, 255}).mean(), std::vector<double>{0.5});
}

TEST(Statistics, a_first_value_that_is_not_finite_is_refused_and_forgotten) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    ChannelStatistics statistics({"x", Dtype::f64, Shape{}});
    EXPECT_FALSE(statistics.add(reinterpret_cast<const std::byte*>(&bad), 1));
    EXPECT_EQ(statistics.mean(), std::vector<double>{0});
    const std::vector<double> good{1, 3};
    EXPECT_TRUE(statistics.add(reinterpret_cast<const std::byte*>(good.data()), 2));
    EXPECT_EQ(statistics.mean(), std::vector<double>{2});
    EXPECT_EQ(statistics.deviation(), std::vector<double>{1});
  }
}

}  // namespace
}  // namespace lockstep::data
