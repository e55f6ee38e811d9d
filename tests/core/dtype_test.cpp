// Sizes, names, and every bit of the two 16-bit floats.
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "core/device.h"
#include "core/error.h"
#include "core/shape.h"

namespace lockstep {
namespace {

F16 half(std::uint16_t bits) {
  F16 value;
  value.bits = bits;
  return value;
}

TEST(Dtype, every_type_has_size_and_a_name_that_finds_it) {
  const std::pair<Dtype, std::size_t> expected[] = {{Dtype::f64, 8}, {Dtype::f32, 4}, {Dtype::bf16, 2},
                                                    {Dtype::f16, 2}, {Dtype::i64, 8}, {Dtype::i32, 4},
                                                    {Dtype::u16, 2}, {Dtype::u8, 1}};
  for (const auto& [dtype, bytes] : expected) {
    EXPECT_EQ(size_of(dtype), bytes);
    EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  }
  EXPECT_EQ(name_of(Dtype::bf16), "bf16");
  EXPECT_EQ(dtype_of<Bf16>, Dtype::bf16);
}

TEST(Dtype, unknown_name_is_refused_with_the_nearest) {
  try {
    (void)dtype_named("bf1");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(error.hint().find("'bf16'"), std::string::npos);
  }
}

TEST(F16, every_half_survives_the_way_to_float_and_back) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto value = static_cast<float>(half(static_cast<std::uint16_t>(bits)));
    const bool nan = (bits & 0x7fffu) > 0x7c00u;
    ASSERT_EQ(std::isnan(value), nan);
    if (nan) {
      ASSERT_TRUE(std::isnan(static_cast<float>(F16(value))));
    } else {
      ASSERT_EQ(F16(value).bits, bits);
    }
  }
}

TEST(F16, halfway_between_neighbours_goes_to_the_even_one) {
  for (std::uint16_t bits = 0; bits < 0x7bffu; ++bits) {
    const auto lower = static_cast<float>(half(bits));
    const auto upper = static_cast<float>(half(static_cast<std::uint16_t>(bits + 1)));
    const float middle = lower + (upper - lower) / 2;  // exact in float
    ASSERT_EQ(F16(middle).bits, bits % 2 == 0 ? bits : bits + 1) << bits;
    ASSERT_EQ(F16(std::nextafter(middle, 0.0F)).bits, bits);
    ASSERT_EQ(F16(std::nextafter(middle, upper)).bits, bits + 1);
    ASSERT_EQ(F16(-middle).bits & 0x7fffu, F16(middle).bits);
  }
}

TEST(F16, known_values_and_limits) {
  EXPECT_EQ(F16(1.0F).bits, 0x3c00);
  EXPECT_EQ(F16(-2.0F).bits, 0xc000);
  EXPECT_EQ(F16(65504.0F).bits, 0x7bff);
  EXPECT_EQ(F16(65519.996F).bits, 0x7bff);
  EXPECT_EQ(F16(65520.0F).bits, 0x7c00);
  EXPECT_EQ(F16(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
  EXPECT_EQ(F16(0x1p-24F).bits, 1);
  EXPECT_EQ(F16(0x1p-25F).bits, 0);
  EXPECT_EQ(F16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(F16(-0.0F).bits, 0x8000);
}

TEST(Bf16, rounds_to_nearest_even_and_keeps_nan) {
  EXPECT_EQ(Bf16(1.0F).bits, 0x3f80);
  EXPECT_EQ(Bf16(1.0F + 0x1p-8F).bits, 0x3f80);            // halfway, down to even
  EXPECT_EQ(Bf16(1.0F + 0x1p-7F + 0x1p-8F).bits, 0x3f82);  // halfway, up to even
  EXPECT_EQ(Bf16(1.0F + 0x1p-8F + 0x1p-20F).bits, 0x3f81);
  EXPECT_EQ(Bf16(std::numeric_limits<float>::max()).bits, 0x7f80);  // to infinity
  EXPECT_TRUE(std::isnan(static_cast<float>(Bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(static_cast<float>(Bf16(-3.5F)), -3.5F);
}

TEST(Shape, counts_and_prints) {
  const Shape images{64, 3, 32, 32};
  EXPECT_EQ(images.count(), 64 * 3 * 32 * 32);
  EXPECT_EQ(images.rank(), 4);
  EXPECT_EQ(images.text(), "[64, 3, 32, 32]");
  EXPECT_EQ(Shape{}.count(), 1);
  EXPECT_EQ(Shape{}.text(), "[]");
  EXPECT_EQ((Shape{5, 0}.count()), 0);
  EXPECT_NE(images, (Shape{64, 3, 32}));
}

TEST(Device, names) {
  EXPECT_EQ(name_of(Device{}), "cpu");
  EXPECT_EQ(name_of(Device{DeviceKind::cuda, 1}), "cuda:1");
}

}  // namespace
}  // namespace lockstep
