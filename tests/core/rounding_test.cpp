// The 16-bit floats against an independent rule: the nearest representable number, the even one of two as
// near, found by search over all 65536 values; and hashes against numbers worked out elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/hash.h"
#include "core/random.h"

namespace lockstep {
namespace {

/// A 16-bit float as its definition says: sign, exponent with bias, mantissa.
double value_of(std::uint16_t bits, int exponent_bits, int bias) {
  const int mantissa_bits = 15 - exponent_bits;
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  }
  const double whole = exponent == 0 ? mantissa : mantissa + (1 << mantissa_bits);
  return sign * std::ldexp(whole, std::max(exponent, 1) - bias - mantissa_bits);
}

/// The format as a table of its finite magnitudes, in order of their bits.
class Format {
 public:
  Format(int exponent_bits, int bias) : exponent_bits_(exponent_bits), bias_(bias) {
    for (std::uint32_t bits = 0; bits < 0x8000; ++bits) {
      const double each = value(static_cast<std::uint16_t>(bits));
      if (!std::isfinite(each)) break;
      magnitudes_.push_back(each);
    }
    const double last_gap = magnitudes_.back() - magnitudes_[magnitudes_.size() - 2];
    infinity_from_ = magnitudes_.back() + last_gap / 2;
  }
  [[nodiscard]] double value(std::uint16_t bits) const { return value_of(bits, exponent_bits_, bias_); }

  /// Bits of the number nearest to `x`, which is not NaN.
  [[nodiscard]] std::uint16_t nearest(float x) const {
    const double magnitude = std::abs(static_cast<double>(x));
    const std::uint32_t sign = std::signbit(x) ? 0x8000 : 0;
    if (magnitude >= infinity_from_) return static_cast<std::uint16_t>(sign | magnitudes_.size());
    const auto above = std::lower_bound(magnitudes_.begin(), magnitudes_.end(), magnitude);
    auto bits = static_cast<std::uint32_t>(above - magnitudes_.begin());
    if (above == magnitudes_.end()) return static_cast<std::uint16_t>(sign | (magnitudes_.size() - 1));
    if (*above != magnitude) {
      const double down = magnitude - magnitudes_[bits - 1];
      const double up = *above - magnitude;
      if (down < up || (down == up && bits % 2 == 1)) --bits;
    }
    return static_cast<std::uint16_t>(sign | bits);
  }

 private:
  int exponent_bits_, bias_;
  std::vector<double> magnitudes_;
  double infinity_from_ = 0;
};

template <class T>
T from_bits(std::uint32_t bits) {
  T value;
  value.bits = static_cast<std::uint16_t>(bits);
  return value;
}

/// Every 16-bit pattern means what the definition says.
template <class T>
void expect_all_values(const Format& format) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto value = static_cast<double>(static_cast<float>(from_bits<T>(bits)));
    const double expected = format.value(static_cast<std::uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint64_t>(value), std::bit_cast<std::uint64_t>(expected)) << bits;
    }
  }
}

/// Floats of every size, halfway points with both neighbours, and the ends.
template <class T>
void expect_nearest(const Format& format) {
  const auto check = [&](float x) {
    if (std::isnan(x)) return;
    ASSERT_EQ(T(x).bits, format.nearest(x)) << std::hexfloat << x;
  };
  for (std::uint64_t word = 0; word < (1ULL << 32); word += 40'009) {
    check(std::bit_cast<float>(static_cast<std::uint32_t>(word)));
  }
  for (std::uint32_t bits = 0; bits < 0x7fff; ++bits) {
    const double low = format.value(static_cast<std::uint16_t>(bits));
    const double high = format.value(static_cast<std::uint16_t>(bits + 1));
    if (!std::isfinite(high)) break;
    const auto middle = static_cast<float>(low + (high - low) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.0F),
                          std::nextafter(middle, std::numeric_limits<float>::infinity())}) {
      check(x);
      check(-x);
    }
  }
  for (const float end : {std::numeric_limits<float>::max(), std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::min()}) {
    check(end);
    check(-end);
  }
}

TEST(Rounding, every_half_means_what_ieee_says) { expect_all_values<F16>(Format(5, 15)); }
TEST(Rounding, every_bfloat_means_what_its_definition_says) { expect_all_values<Bf16>(Format(8, 127)); }
TEST(Rounding, floats_become_the_nearest_half) { expect_nearest<F16>(Format(5, 15)); }
TEST(Rounding, floats_become_the_nearest_bfloat) { expect_nearest<Bf16>(Format(8, 127)); }

TEST(Rounding, the_rule_itself_knows_ties_and_ends) {  // negative control of the search above
  const Format half(5, 15);
  EXPECT_EQ(half.nearest(2049.0F), 0x6800);  // a tie: down to even
  EXPECT_EQ(half.nearest(2051.0F), 0x6802);  // a tie: up to even
  EXPECT_EQ(half.nearest(65519.0F), 0x7bff);
  EXPECT_EQ(half.nearest(-65520.0F), 0xfc00);
  EXPECT_EQ(half.nearest(-0.0F), 0x8000);
}

TEST(Rounding, not_a_number_never_becomes_a_number) {
  for (std::uint32_t mantissa = 1; mantissa < (1U << 23); mantissa = mantissa * 3 + 1) {
    for (const std::uint32_t sign : {0U, 0x80000000U}) {
      const float nan = std::bit_cast<float>(sign | 0x7f800000U | mantissa);
      EXPECT_TRUE(std::isnan(static_cast<float>(F16(nan)))) << mantissa;
      EXPECT_TRUE(std::isnan(static_cast<float>(Bf16(nan)))) << mantissa;
    }
  }
}

// ---- hashes

/// SplitMix64's finaliser, written down again.
std::uint64_t finaliser(std::uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
  return z ^ z >> 31;
}

TEST(HashDefinition, is_the_sum_of_mixed_index_and_bits) {
  const std::vector<float> values{0.0F, 1.0F, -0.0F, 1e-45F, std::numeric_limits<float>::infinity()};
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < values.size(); ++i) {
    const std::uint64_t bits = std::bit_cast<std::uint32_t>(values[i]);
    sum += finaliser((i + 8) * 0x9e3779b97f4a7c15ULL ^ (bits << 16 | 0x5b));
  }
  EXPECT_EQ(hash_floats(values, 7), sum);
}

TEST(HashDefinition, of_nothing_is_zero_and_zeros_count) {
  EXPECT_EQ(hash_floats({}), 0U);
  EXPECT_EQ(hash_text(0), "0000000000000000");
  const std::vector<float> one(1), two(2);
  EXPECT_NE(hash_floats(one), 0U);
  EXPECT_NE(hash_floats(one), hash_floats(two)) << "the length matters";
  const std::vector<float> minus{-0.0F};
  EXPECT_NE(hash_floats(one), hash_floats(minus)) << "bits count, not values";
}

TEST(HashDefinition, any_cut_adds_up) {
  std::vector<float> values(1000);
  const RandomSource random(1, "hash", 0);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  const std::span<const float> all(values);
  for (std::size_t cut = 0; cut <= 1000; cut += 37) {
    EXPECT_EQ(hash_floats(all.first(cut)) + hash_floats(all.subspan(cut), cut), hash_floats(all)) << cut;
  }
}

TEST(NameHash, is_fnv_1a) {
  EXPECT_EQ(name_hash(""), 0xcbf29ce484222325ULL);  // published values of the 64-bit function
  EXPECT_EQ(name_hash("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(name_hash("foobar"), 0x85944171f73967e8ULL);
}

}  // namespace
}  // namespace lockstep
