#include "core/vector/vector.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace lockstep {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<std::int64_t> kCounts = {0, 1, 15, 16, 17, 1009, 4096, 4097, 100'003};

class VectorCast : public testing::Test {
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

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

TEST_F(VectorCast, to_bf16_gives_the_bits_of_the_scalar_type) {
  std::vector<float> values = random_values<float>(10'007, 1);
  for (const float special :
       {0.0F, -0.0F, kInfinity, -kInfinity, kNan, -kNan, 1e-45F, 3.4e38F, 1.00390625F, 1.01171875F}) {
    values.push_back(special);
  }
  values.push_back(std::bit_cast<float>(0x7f800001U));  // a signalling NaN with no bit in the upper half
  std::vector<Bf16> halves(values.size());
  vector::cast(span_of(values), span_of(halves), *stream_);
  std::vector<float> back(values.size());
  vector::cast(span_of(halves), span_of(back), *stream_);
  stream_->synchronize();
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(halves[i].bits, Bf16(values[i]).bits) << values[i];
    ASSERT_EQ(bits_of(back[i]), bits_of(static_cast<float>(halves[i])));
  }
}

TEST_F(VectorCast, of_every_f16_has_the_bits_of_the_scalar_type) {
  std::vector<F16> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> floats(all.size());
  vector::cast(span_of(all), span_of(floats), *stream_);
  stream_->synchronize();
  for (std::size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(bits_of(floats[i]), bits_of(static_cast<float>(all[i]))) << i;
  }
}

TEST_F(VectorCast, to_f16_has_the_bits_of_the_scalar_type) {
  std::vector<float> values;
  for (std::uint64_t word = 0; word < (1ULL << 32); word += 65'521) {  // a prime step over all floats
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(word)));
  }
  for (const float edge :
       {65504.0F, 65519.99F, 65520.0F, 0x1p-14F, 0x1.ffcp-15F, 0x1p-24F, 0x1p-25F, 0x1.8p-25F}) {
    values.insert(values.end(), {edge, -edge, std::nextafter(edge, 0.0F), std::nextafter(edge, kInfinity)});
  }
  std::vector<F16> halves(values.size());
  vector::cast(span_of(values), span_of(halves), *stream_);
  stream_->synchronize();
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(halves[i].bits, F16(values[i]).bits) << values[i];
}

TEST_F(VectorCast, of_every_bf16_there_and_back_keeps_its_bits) {
  std::vector<Bf16> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> floats(all.size());
  std::vector<Bf16> back(all.size());
  vector::cast(span_of(all), span_of(floats), *stream_);
  vector::cast(span_of(floats), span_of(back), *stream_);
  stream_->synchronize();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool signalling_nan = (i & 0x7f80U) == 0x7f80U && (i & 0x7fU) != 0 && (i & 0x40U) == 0;
    ASSERT_EQ(back[i].bits, signalling_nan ? (i | 0x40U) : i);
  }
}

template <class From, class To>
void expect_cast(Stream& stream) {
  for (const std::int64_t count : kCounts) {
    std::vector<From> from = random_values<From>(count, 5);
    std::vector<To> to(from.size());
    vector::cast(span_of(from), span_of(to), stream);
    stream.synchronize();
    for (std::size_t i = 0; i < from.size(); ++i) {
      ASSERT_EQ(static_cast<double>(static_cast<float>(to[i])),
                static_cast<double>(static_cast<float>(static_cast<To>(static_cast<float>(from[i])))));
    }
  }
}

TEST_F(VectorCast, converts_between_all_float_dtypes) {
  expect_cast<float, double>(*stream_);
  expect_cast<double, float>(*stream_);
  expect_cast<float, F16>(*stream_);
  expect_cast<F16, float>(*stream_);
  expect_cast<Bf16, F16>(*stream_);
  expect_cast<F16, double>(*stream_);
  expect_cast<double, Bf16>(*stream_);
}

TEST_F(VectorCast, between_equal_dtypes_copies_bits) {
  std::vector<float> values = {1, -0.0F, kNan, kInfinity, std::bit_cast<float>(0x7f800001U)};
  std::vector<float> copy(values.size());
  vector::cast(span_of(values), span_of(copy), *stream_);
  std::vector<std::int64_t> integers = {1, -5, std::numeric_limits<std::int64_t>::max()};
  std::vector<std::int64_t> integer_copy(3);
  vector::cast(span_of(integers), span_of(integer_copy), *stream_);
  stream_->synchronize();
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(bits_of(copy[i]), bits_of(values[i]));
  EXPECT_EQ(integer_copy, integers);
}

}  // namespace
}  // namespace lockstep
