// The benchmark's verification catches what a broken sum would leave: any single wrong element, a rank left
// out or counted twice, chunks in each other's place. And every right sum is exact in every dtype it takes.
#include "comm/bench_pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/memory.h"
#include "tests/support/refusal.h"

namespace lockstep::comm {
namespace {

template <class T>
class PatternOf : public testing::Test {
 protected:
  /// What `rank` of `ranks` fills.
  static std::vector<T> filled(int rank, int ranks, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    Pattern(rank, ranks, dtype_of<T>).fill(flat(std::span(values)));
    return values;
  }
  /// Sums of what the ranks in `order` fill, added one by one in the type itself.
  static std::vector<T> summed(const std::vector<int>& order, int ranks, std::int64_t count) {
    std::vector<T> sum = filled(order.front(), ranks, count);
    for (std::size_t i = 1; i < order.size(); ++i) {
      const std::vector<T> next = filled(order[i], ranks, count);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] = add(sum[j], next[j]);
    }
    return sum;
  }
  static T add(T a, T b) { return static_cast<T>(static_cast<float>(a) + static_cast<float>(b)); }
  static std::int64_t wrong(std::vector<T> values, int ranks) {
    return Pattern(0, ranks, dtype_of<T>).count_wrong(flat(std::span(values)));
  }
  static std::vector<int> all(int ranks) {
    std::vector<int> order;
    for (int rank = 0; rank < ranks; ++rank) order.push_back(rank);
    return order;
  }
};
using Types = testing::Types<float, double, Bf16, std::int32_t>;
TYPED_TEST_SUITE(PatternOf, Types);

constexpr std::int64_t kSizes[] = {0, 1, 2, 251, 252, 1009};

TYPED_TEST(PatternOf, sums_in_any_order_have_no_wrong_element) {
  for (const int ranks : {1, 2, 3, 5, 17, 64}) {
    std::vector<int> forward = TestFixture::all(ranks), backward = forward;
    std::reverse(backward.begin(), backward.end());
    for (const std::int64_t count : kSizes) {
      EXPECT_EQ(this->wrong(this->summed(forward, ranks, count), ranks), 0) << ranks << " of " << count;
      EXPECT_EQ(this->wrong(this->summed(backward, ranks, count), ranks), 0) << ranks << " of " << count;
    }
  }
}

TYPED_TEST(PatternOf, each_single_wrong_element_is_counted) {
  const int ranks = 3;
  const auto right = this->summed(TestFixture::all(ranks), ranks, 1009);
  for (const std::size_t place : {std::size_t{0}, std::size_t{250}, std::size_t{1008}}) {
    auto values = right;
    values[place] = this->add(values[place], TypeParam(1.0f));
    EXPECT_EQ(this->wrong(values, ranks), 1) << place;
  }
  EXPECT_EQ(this->wrong(std::vector<TypeParam>(1009, TypeParam(-1.0f)), ranks), 1009);
}

TYPED_TEST(PatternOf, a_rank_left_out_or_counted_twice_is_seen_almost_everywhere) {
  for (const int ranks : {2, 3, 5, 8}) {
    for (int rank = 0; rank < ranks; ++rank) {
      std::vector<int> less = TestFixture::all(ranks), more = less;
      less.erase(less.begin() + rank);
      more.push_back(rank);
      // Only where the rank fills a zero the sum is the same: one of every period, three at the least.
      EXPECT_GE(this->wrong(this->summed(less, ranks, 1009), ranks), 1009 * 2 / 3 - 1) << rank << ranks;
      EXPECT_GE(this->wrong(this->summed(more, ranks, 1009), ranks), 1009 * 2 / 3 - 1) << rank << ranks;
    }
  }
}

TYPED_TEST(PatternOf, chunks_in_each_others_place_are_seen) {
  const int ranks = 4;
  auto values = this->summed(TestFixture::all(ranks), ranks, 1000);
  std::swap_ranges(values.begin(), values.begin() + 500, values.begin() + 500);
  EXPECT_GT(this->wrong(values, ranks), 0);
  auto shifted = this->summed(TestFixture::all(ranks), ranks, 1000);
  std::rotate(shifted.begin(), shifted.begin() + 1, shifted.end());
  EXPECT_GT(this->wrong(shifted, ranks), 0);
}

TYPED_TEST(PatternOf, what_was_never_summed_is_wrong) {
  EXPECT_GT(this->wrong(this->filled(0, 3, 1009), 3), 1009 / 2);
  EXPECT_EQ(this->wrong(this->filled(0, 1, 1009), 1), 0) << "alone there is nothing to add";
}

TEST(PatternFloats, a_sum_that_is_no_number_is_wrong) {
  std::vector<float> values(7, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(Pattern(0, 2, Dtype::f32).count_wrong(flat(std::span(values))), 7);
}

TEST(PatternCheck, allows_ranks_as_long_as_the_largest_sum_is_exact) {
  for (const auto& [dtype, most] : std::vector<std::pair<Dtype, int>>{
           {Dtype::bf16, 128}, {Dtype::f32, 67108}, {Dtype::f64, 67108}, {Dtype::i32, 67108}}) {
    EXPECT_NO_THROW(Pattern::check(1, dtype));
    EXPECT_NO_THROW(Pattern::check(most, dtype)) << name_of(dtype);
    expect_error(Fault::config, {std::to_string(most + 1) + " ranks", std::string(name_of(dtype))},
                 [&, dtype = dtype, most = most] { Pattern::check(most + 1, dtype); });
  }
}

TEST(PatternCheck, types_that_no_sum_takes_are_refused_by_name) {
  for (const Dtype dtype : {Dtype::u8, Dtype::u16, Dtype::i64, Dtype::f16})
    expect_error(Fault::config, {std::string(name_of(dtype))}, [&] { Pattern::check(2, dtype); });
}

TEST(PatternCheck, the_first_sum_beyond_the_limit_of_bf16_is_indeed_not_exact) {  // negative control
  const float largest = 128 * 2, beyond = 129 * 2 - 1;
  EXPECT_EQ(static_cast<float>(Bf16(largest)), largest);
  EXPECT_NE(static_cast<float>(Bf16(beyond)), beyond);
}

}  // namespace
}  // namespace lockstep::comm
