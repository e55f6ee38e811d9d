// Every primitive on arrays that start anywhere: each count and offset gives what a plain loop gives, and
// neighbours stay as they were.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "core/memory.h"
#include "core/random.h"
#include "core/vector/vector.h"

namespace lockstep {
namespace {

constexpr std::int64_t kCounts[] = {0, 1, 2, 31, 64, 127, 1009, 8192, 65'537};
constexpr std::int64_t kOffsets[] = {0, 1, 3, 5, 8, 15};
constexpr std::int64_t kGuard = 16;

template <class T>
T value_of(float number) {
  return static_cast<T>(number);
}

/// An array at `offset` of a block, between guards that must not change.
template <class T>
class Guarded {
 public:
  Guarded(std::int64_t count, std::int64_t offset, std::uint64_t seed)
      : memory_(allocate(Device{}, static_cast<std::size_t>(count + offset + 2 * kGuard) * sizeof(T))),
        before_(memory_.bytes()),
        first_(kGuard + offset),
        count_(count) {
    const RandomSource random(seed, "guarded", static_cast<std::uint64_t>(count));
    T* all = static_cast<T*>(memory_.data());
    for (std::int64_t i = 0; i < count + offset + 2 * kGuard; ++i) {
      all[i] = value_of<T>(std::round(random.normal(static_cast<std::uint64_t>(i)) * 100) / 8);
    }
    std::memcpy(before_.data(), memory_.data(), before_.size());
  }
  [[nodiscard]] FlatSpan span() const {
    return {static_cast<T*>(memory_.data()) + first_, count_, dtype_of<T>, Device{}};
  }
  /// Element i as it is, and as it was.
  [[nodiscard]] T now(std::int64_t i) const { return static_cast<const T*>(memory_.data())[first_ + i]; }
  [[nodiscard]] T was(std::int64_t i) const {
    T value;
    std::memcpy(&value, before_.data() + static_cast<std::size_t>(first_ + i) * sizeof(T), sizeof(T));
    return value;
  }
  [[nodiscard]] bool guards_untouched() const {
    const auto begin = static_cast<std::size_t>(first_) * sizeof(T);
    const auto end = static_cast<std::size_t>(first_ + count_) * sizeof(T);
    const auto* all = static_cast<const std::byte*>(memory_.data());
    return std::memcmp(all, before_.data(), begin) == 0 &&
           std::memcmp(all + end, before_.data() + end, before_.size() - end) == 0;
  }

 private:
  Memory memory_;
  std::vector<std::byte> before_;
  std::int64_t first_, count_;
};

template <class T>
bool same_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

class VectorPlaces : public testing::Test {
 protected:
  /// Runs `check(count, offset)` for all counts and offsets.
  template <class Check>
  void everywhere(const Check& check) {
    for (const std::int64_t count : kCounts) {
      for (const std::int64_t offset : kOffsets) {
        check(count, offset);
        if (testing::Test::HasFailure()) FAIL() << "count " << count << ", offset " << offset;
      }
    }
  }

  template <class T>
  void fills() {
    everywhere([&](std::int64_t count, std::int64_t offset) {
      const Guarded<T> x(count, offset, 1);
      vector::fill(x.span(), 37.0F, *stream_);
      stream_->synchronize();
      for (std::int64_t i = 0; i < count; ++i) ASSERT_TRUE(same_bits(x.now(i), value_of<T>(37.0F)));
      EXPECT_TRUE(x.guards_untouched());
    });
  }

  /// out = left + right, each at another offset.
  template <class T, class Plus>
  void sums(const Plus& plus) {
    everywhere([&](std::int64_t count, std::int64_t offset) {
      const Guarded<T> left(count, offset, 1);
      const Guarded<T> right(count, (offset + 2) % 7, 2);
      const Guarded<T> out(count, (offset + 5) % 11, 3);
      vector::sum(left.span(), right.span(), out.span(), *stream_);
      stream_->synchronize();
      for (std::int64_t i = 0; i < count; ++i)
        ASSERT_TRUE(same_bits(out.now(i), plus(left.was(i), right.was(i))));
      EXPECT_TRUE(left.guards_untouched() && right.guards_untouched() && out.guards_untouched());
    });
  }

  template <class From, class To>
  void casts() {
    everywhere([&](std::int64_t count, std::int64_t offset) {
      const Guarded<From> from(count, offset, 1);
      const Guarded<To> to(count, (offset + 3) % 7, 2);
      vector::cast(from.span(), to.span(), *stream_);
      stream_->synchronize();
      for (std::int64_t i = 0; i < count; ++i) {
        const float value = static_cast<float>(from.was(i));
        ASSERT_TRUE(same_bits(to.now(i), static_cast<To>(value)));
      }
      EXPECT_TRUE(from.guards_untouched() && to.guards_untouched());
    });
  }

  std::unique_ptr<Stream> stream_ = make_stream(Device{});
};

TEST_F(VectorPlaces, fill_writes_its_elements_only) {
  fills<double>();
  fills<float>();
  fills<Bf16>();
  fills<F16>();
  fills<std::int64_t>();
  fills<std::int32_t>();
  fills<std::uint16_t>();
  fills<std::uint8_t>();
}

TEST_F(VectorPlaces, sum_adds_in_each_dtype) {
  const auto plain = [](auto a, auto b) { return static_cast<decltype(a)>(a + b); };
  const auto by_float = [](auto a, auto b) {
    return decltype(a)(static_cast<float>(a) + static_cast<float>(b));
  };
  sums<double>(plain);
  sums<float>(plain);
  sums<std::int64_t>(plain);
  sums<std::int32_t>(plain);
  sums<Bf16>(by_float);
  sums<F16>(by_float);
}

TEST_F(VectorPlaces, cast_converts_in_both_directions) {
  casts<float, Bf16>();
  casts<Bf16, float>();
  casts<float, F16>();
  casts<F16, float>();
  casts<double, float>();
  casts<float, double>();
  casts<Bf16, F16>();
  casts<F16, double>();
}

TEST_F(VectorPlaces, axpy_and_scale_multiply_and_round_once_each) {
  everywhere([&](std::int64_t count, std::int64_t offset) {
    const Guarded<float> x(count, offset, 1);
    const Guarded<float> y(count, (offset + 4) % 9, 2);
    const Guarded<float> z(count, offset, 3);
    vector::axpy(-0.7F, x.span(), y.span(), *stream_);
    vector::scale(1.3F, z.span(), *stream_);
    stream_->synchronize();
    for (std::int64_t i = 0; i < count; ++i) {
      const volatile float product = -0.7F * x.was(i);
      ASSERT_EQ(y.now(i), y.was(i) + product);
      ASSERT_EQ(z.now(i), 1.3F * z.was(i));
    }
    EXPECT_TRUE(x.guards_untouched() && y.guards_untouched() && z.guards_untouched());
  });
}

TEST_F(VectorPlaces, reductions_depend_on_the_elements_not_on_where_they_lie) {
  for (const std::int64_t count : kCounts) {
    std::vector<double> squares;
    for (const std::int64_t offset : kOffsets) {
      const Guarded<float> x(count, offset, 1);
      std::vector<float> own(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<float>(i % 17) / 3;
      if (count > 0) std::memcpy(x.span().data, own.data(), own.size() * 4);
      double result = -1;
      std::int64_t wrong = -1;
      vector::sum_of_squares(x.span(), flat(std::span(&result, 1)), *stream_);
      vector::count_nonfinite(x.span(), flat(std::span(&wrong, 1)), *stream_);
      stream_->synchronize();
      squares.push_back(result);
      EXPECT_EQ(wrong, 0);
      EXPECT_TRUE(x.guards_untouched());
    }
    for (const double each : squares) EXPECT_EQ(each, squares[0]) << count;
  }
}

TEST_F(VectorPlaces, one_bad_element_is_found_wherever_it_lies) {
  constexpr std::int64_t kLength = 100;
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(), std::bit_cast<float>(0x7f800001U)}) {
    for (std::int64_t at = 0; at < kLength; ++at) {
      std::vector<float> values(kLength + 3, bad);  // bad neighbours too
      std::fill(values.begin() + 1, values.begin() + 1 + kLength, 1.0F);
      values[static_cast<std::size_t>(1 + at)] = bad;
      std::int64_t found = -1;
      vector::count_nonfinite(flat(std::span(values)).part(1, kLength), flat(std::span(&found, 1)), *stream_);
      stream_->synchronize();
      ASSERT_EQ(found, 1) << at;
    }
  }
}

TEST_F(VectorPlaces, large_arrays_are_added_and_summed_whole) {
  constexpr std::int64_t kLarge = (1 << 21) + 3;
  const FlatArray x = make_array(Device{}, Dtype::f32, kLarge);
  const FlatArray y = make_array(Device{}, Dtype::f32, kLarge);
  vector::fill(x.span, 2, *stream_);
  vector::fill(y.span, 1, *stream_);
  vector::add(x.span, y.span, *stream_);
  double squares = 0;
  vector::sum_of_squares(y.span, flat(std::span(&squares, 1)), *stream_);
  stream_->synchronize();
  EXPECT_EQ(squares, 9.0 * kLarge);
}

TEST(FlatSpanParts, name_elements_and_bytes) {
  std::vector<std::int32_t> values{0, 1, 2, 3, 4, 5};
  const FlatSpan whole = flat(std::span(values));
  EXPECT_EQ(whole.bytes(), 24U);
  const FlatSpan part = whole.part(2, 3);
  EXPECT_EQ(part.count, 3);
  EXPECT_EQ(part.as<std::int32_t>()[0], 2);
  EXPECT_EQ(part.part(1, 2).as<std::int32_t>()[1], 4);
  EXPECT_EQ(whole.part(6, 0).count, 0);
  EXPECT_EQ(whole.at(4), reinterpret_cast<std::byte*>(&values[4]));
}

}  // namespace
}  // namespace lockstep
