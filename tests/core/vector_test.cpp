#include "core/vector/vector.h"

#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "core/error.h"
#include "core/memory.h"

namespace lockstep {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<std::int64_t> kCounts = {0, 1, 15, 16, 17, 1009, 4096, 4097, 100'003};

class Vector : public testing::Test {
 protected:
  std::unique_ptr<Stream> stream_ = make_stream(Device{});
};

template <class T>
std::vector<T> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = static_cast<T>(normal(random));
  return values;
}

template <class T>
FlatSpan span_of(std::vector<T>& values) {
  return flat(std::span<T>(values));
}

TEST_F(Vector, fill_sets_every_element_of_any_dtype) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> floats(static_cast<std::size_t>(count), 9);
    vector::fill(span_of(floats), 1.5F, *stream_);
    std::vector<Bf16> halves(static_cast<std::size_t>(count), Bf16(9));
    vector::fill(span_of(halves), 1.5F, *stream_);
    std::vector<std::int32_t> integers(static_cast<std::size_t>(count), 9);
    vector::fill(span_of(integers), -1.5F, *stream_);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count), 9);
    vector::fill(span_of(bytes), 200.7F, *stream_);
    stream_->synchronize();
    for (std::size_t i = 0; i < floats.size(); ++i) {
      ASSERT_EQ(floats[i], 1.5F);
      ASSERT_EQ(static_cast<float>(halves[i]), 1.5F);
      ASSERT_EQ(integers[i], -1);
      ASSERT_EQ(bytes[i], 200);
    }
  }
}

TEST_F(Vector, calls_return_before_the_work_is_done) {
  std::atomic<bool> open = false;
  std::vector<float> values(3, 1);
  stream_->host([&open] { open.wait(false); });
  vector::fill(span_of(values), 2, *stream_);
  EXPECT_EQ(values[0], 1.0F);
  open = true;
  open.notify_all();
  stream_->synchronize();
  EXPECT_EQ(values[0], 2.0F);
}

TEST_F(Vector, sum_adds_elements_for_any_count) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> left = random_values<float>(count, 1);
    std::vector<float> right = random_values<float>(count, 2);
    std::vector<float> out(left.size());
    vector::sum(span_of(left), span_of(right), span_of(out), *stream_);
    stream_->synchronize();
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], left[i] + right[i]);
  }
}

TEST_F(Vector, sum_may_write_over_either_operand) {
  std::vector<float> left = random_values<float>(1009, 1);
  std::vector<float> right = random_values<float>(1009, 2);
  std::vector<float> expected(1009);
  for (std::size_t i = 0; i < 1009; ++i) expected[i] = left[i] + right[i];
  std::vector<float> over_left = left;
  vector::sum(span_of(over_left), span_of(right), span_of(over_left), *stream_);
  std::vector<float> over_right = right;
  vector::sum(span_of(left), span_of(over_right), span_of(over_right), *stream_);
  std::vector<float> doubled = left;
  vector::add(span_of(doubled), span_of(doubled), *stream_);
  stream_->synchronize();
  EXPECT_EQ(over_left, expected);
  EXPECT_EQ(over_right, expected);
  for (std::size_t i = 0; i < 1009; ++i) ASSERT_EQ(doubled[i], 2 * left[i]);
}

TEST_F(Vector, add_of_bf16_and_f16_rounds_once_from_float) {
  std::vector<Bf16> x = random_values<Bf16>(4097, 1);
  std::vector<Bf16> y = random_values<Bf16>(4097, 2);
  const std::vector<Bf16> before = y;
  vector::add(span_of(x), span_of(y), *stream_);
  std::vector<F16> half_x = {F16(2048), F16(65504)};
  std::vector<F16> half_y = {F16(1), F16(65504)};
  vector::add(span_of(half_x), span_of(half_y), *stream_);
  stream_->synchronize();
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i].bits, Bf16(static_cast<float>(x[i]) + static_cast<float>(before[i])).bits);
  }
  EXPECT_EQ(static_cast<float>(half_y[0]), 2048.0F);  // 2049 is a tie: to even
  EXPECT_EQ(static_cast<float>(half_y[1]), kInfinity);
}

TEST_F(Vector, add_of_integers_wraps) {
  std::vector<std::int32_t> x = {1, std::numeric_limits<std::int32_t>::max()};
  std::vector<std::int32_t> y = {2, 1};
  vector::add(span_of(x), span_of(y), *stream_);
  std::vector<std::int64_t> wide_x = {-1, std::numeric_limits<std::int64_t>::min()};
  std::vector<std::int64_t> wide_y = {-2, -1};
  vector::add(span_of(wide_x), span_of(wide_y), *stream_);
  std::vector<double> double_x = {1e-20};
  std::vector<double> double_y = {1.0};
  vector::add(span_of(double_x), span_of(double_y), *stream_);
  stream_->synchronize();
  EXPECT_EQ(y, (std::vector<std::int32_t>{3, std::numeric_limits<std::int32_t>::min()}));
  EXPECT_EQ(wide_y, (std::vector<std::int64_t>{-3, std::numeric_limits<std::int64_t>::max()}));
  EXPECT_EQ(double_y[0], 1e-20 + 1.0);
}

TEST_F(Vector, axpy_rounds_the_product_and_then_the_sum) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> x = random_values<float>(count, 1);
    std::vector<float> y = random_values<float>(count, 2);
    const std::vector<float> before = y;
    vector::axpy(0.1F, span_of(x), span_of(y), *stream_);
    stream_->synchronize();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const volatile float product = 0.1F * x[i];  // volatile: no fused multiply-add here either
      ASSERT_EQ(y[i], before[i] + product) << i << " of " << count;
    }
  }
}

TEST_F(Vector, scale_multiplies_every_element) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> x = random_values<float>(count, 1);
    const std::vector<float> before = x;
    vector::scale(-0.3F, span_of(x), *stream_);
    stream_->synchronize();
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], -0.3F * before[i]);
  }
}

/// The order that reduce.cpp promises, written down plainly.
template <class T>
double plain_sum_of_squares(const std::vector<T>& x) {
  double total = 0;
  for (std::size_t first = 0; first < x.size(); first += 4096) {
    double lanes[16] = {};
    for (std::size_t i = first; i < std::min(first + 4096, x.size()); ++i) {
      const volatile double value = static_cast<double>(x[i]);
      const volatile double square = value * value;
      lanes[(i - first) % 16] += square;
    }
    for (int width = 8; width > 0; width /= 2) {
      for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
    }
    total += lanes[0];
  }
  return total;
}

TEST_F(Vector, sum_of_squares_has_the_bits_of_the_promised_order) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> x = random_values<float>(count, 3);
    std::vector<double> doubles(x.begin(), x.end());
    for (double& value : doubles) value *= 1.0000001;
    std::vector<double> result = {-1, -1};
    vector::sum_of_squares(span_of(x), span_of(result).part(0, 1), *stream_);
    vector::sum_of_squares(span_of(doubles), span_of(result).part(1, 1), *stream_);
    stream_->synchronize();
    EXPECT_EQ(result[0], plain_sum_of_squares(x)) << count;
    EXPECT_EQ(result[1], plain_sum_of_squares(doubles)) << count;
  }
}

TEST_F(Vector, sum_of_squares_order_matters_to_the_bits) {  // negative control: the test above can fail
  const std::vector<float> x = random_values<float>(100'003, 3);
  double in_sequence = 0;
  for (const float value : x) in_sequence += static_cast<double>(value) * value;
  EXPECT_NE(in_sequence, plain_sum_of_squares(x));
  EXPECT_NEAR(in_sequence, plain_sum_of_squares(x), 1e-9 * in_sequence);
}

TEST_F(Vector, sum_of_squares_of_low_precision_is_exact_in_double) {
  std::vector<Bf16> x(1009, Bf16(3));
  std::vector<F16> y(17, F16(-2));
  std::vector<double> result(2);
  vector::sum_of_squares(span_of(x), span_of(result).part(0, 1), *stream_);
  vector::sum_of_squares(span_of(y), span_of(result).part(1, 1), *stream_);
  stream_->synchronize();
  EXPECT_EQ(result, (std::vector<double>{9.0 * 1009, 68}));
}

template <class T>
std::int64_t nonfinite_of(std::vector<T> values, Stream& stream) {
  std::vector<std::int64_t> result = {-1};
  vector::count_nonfinite(span_of(values), span_of(result), stream);
  stream.synchronize();
  return result[0];
}

TEST_F(Vector, count_nonfinite_counts_nan_and_infinity_only) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> x = random_values<float>(count, 3);
    EXPECT_EQ(nonfinite_of(x, *stream_), 0);
    if (count < 2) continue;
    x.front() = kNan;
    x.back() = -kInfinity;
    EXPECT_EQ(nonfinite_of(x, *stream_), 2);
  }
  EXPECT_EQ(nonfinite_of(std::vector<float>{3.4e38F, 1e-45F, -0.0F}, *stream_), 0);
  EXPECT_EQ(nonfinite_of(std::vector<float>(100'003, kNan), *stream_), 100'003);
}

TEST_F(Vector, count_nonfinite_knows_every_float_dtype) {
  EXPECT_EQ(nonfinite_of(std::vector<double>{1e308, HUGE_VAL, NAN, 0}, *stream_), 2);
  EXPECT_EQ(nonfinite_of(std::vector<Bf16>{Bf16(1), Bf16(kNan), Bf16(-kInfinity)}, *stream_), 2);
  EXPECT_EQ(nonfinite_of(std::vector<F16>{F16(65504), F16(kInfinity), F16(kNan)}, *stream_), 2);
}

TEST_F(Vector, arguments_that_do_not_fit_are_refused_at_the_call) {
  std::vector<float> x(4);
  std::vector<float> y(5);
  std::vector<double> wide(4);
  std::vector<std::int32_t> integers(4);
  std::vector<std::uint8_t> bytes(4);
  const FlatSpan elsewhere{nullptr, 4, Dtype::f32, Device{DeviceKind::cuda, 0}};
  EXPECT_THROW(vector::add(span_of(x), span_of(y), *stream_), Error);
  EXPECT_THROW(vector::add(span_of(x), span_of(wide), *stream_), Error);
  EXPECT_THROW(vector::add(span_of(bytes), span_of(bytes), *stream_), Error);
  EXPECT_THROW(vector::cast(span_of(x), span_of(integers), *stream_), Error);
  EXPECT_THROW(vector::cast(span_of(x), span_of(y), *stream_), Error);
  EXPECT_THROW(vector::axpy(1, span_of(wide), span_of(wide), *stream_), Error);
  EXPECT_THROW(vector::scale(1, span_of(integers), *stream_), Error);
  EXPECT_THROW(vector::fill(elsewhere, 1, *stream_), Error);
  EXPECT_THROW(vector::sum_of_squares(span_of(x), span_of(wide), *stream_), Error);
  EXPECT_THROW(vector::count_nonfinite(span_of(x), span_of(wide).part(0, 1), *stream_), Error);
  EXPECT_NO_THROW(stream_->synchronize());
  try {
    vector::add(span_of(x), span_of(y), *stream_);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "vector::sum cannot work on 4 f32 on cpu and 5 f32 on cpu and 5 f32 on cpu");
  }
}

}  // namespace
}  // namespace lockstep
