// What a codec promises: its payload, its error, no bias, blocks that know nothing of each other.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "comm/compress/codec.h"
#include "core/memory.h"
#include "core/random.h"

namespace lockstep::comm {
namespace {

struct Case {
  const char* name;
  CodecSpec spec;
  double error;  ///< bound of the relative L2 error on normal numbers
  double bits;   ///< per value, scales aside
};

const Case kCases[] = {
    {"bf16", {.kind = CodecKind::bf16}, 0.003, 16},
    {"fp16", {.kind = CodecKind::fp16}, 0.0004, 16},
    {"int8", {.kind = CodecKind::int8}, 0.008, 8},
    {"int8_stochastic", {.kind = CodecKind::int8, .rounding = Rounding::stochastic}, 0.012, 8},
    {"int8_rotated", {.kind = CodecKind::int8, .rotate = true}, 0.008, 8},
    {"int4", {.kind = CodecKind::int4}, 0.14, 4},
    {"int4_rotated", {.kind = CodecKind::int4, .rotate = true}, 0.14, 4},
    {"int4_stochastic", {.kind = CodecKind::int4, .rounding = Rounding::stochastic}, 0.2, 4},
    {"qsgd8",
     {.kind = CodecKind::int8, .rounding = Rounding::stochastic, .scale = BlockScale::length},
     0.06,
     8},
    {"qsgd4",
     {.kind = CodecKind::int4, .rounding = Rounding::stochastic, .scale = BlockScale::length},
     1.0,
     4},
    {"sign", {.kind = CodecKind::sign}, 0.62, 1},        // sqrt(1 - 2 / pi) of normal numbers
    {"natural", {.kind = CodecKind::natural}, 0.36, 8},  // sqrt(1 / 8)
};

std::vector<float> normals(std::int64_t count, std::uint64_t seed = 1) {
  const RandomSource source(seed, "codec test", 0);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = source.normal(i);
  return values;
}

struct Coded {
  std::vector<float> decoded, residual;
  std::vector<std::uint8_t> wire;
};

Coded code(const Codec& codec, std::vector<float> values, std::uint32_t key = 1) {
  const auto stream = make_stream(Device{});
  Coded coded{std::vector<float>(values.size(), 7), std::vector<float>(values.size(), 7), {}};
  coded.wire.resize(static_cast<std::size_t>(codec.payload(static_cast<std::int64_t>(values.size()))));
  const FlatSpan wire = flat(std::span(coded.wire));
  codec.encode(flat(std::span(values)), wire, flat(std::span(coded.residual)), key, *stream);
  codec.decode(wire, flat(std::span(coded.decoded)), Codec::Into::replace, *stream);
  stream->synchronize();
  return coded;
}

double length(const std::vector<float>& x) {
  double sum = 0;
  for (float each : x) sum += static_cast<double>(each) * static_cast<double>(each);
  return std::sqrt(sum);
}

class EveryCodec : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Codec> codec_ = make_codec(GetParam().spec, Device{});
};
INSTANTIATE_TEST_SUITE_P(Codecs, EveryCodec, testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(EveryCodec, residual_is_what_decoding_lacks_to_the_bit) {
  for (std::int64_t count : {1, 2, 63, 64, 257, 1021, 4096, 10007}) {
    const auto values = normals(count);
    const Coded coded = code(*codec_, values);
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(coded.residual[i], values[i] - coded.decoded[i]) << count << " values, " << i;
  }
}

TEST_P(EveryCodec, residual_may_take_the_place_of_the_values) {
  auto values = normals(1000);
  const Coded expected = code(*codec_, values);
  const auto stream = make_stream(Device{});
  std::vector<std::uint8_t> wire(expected.wire.size());
  const FlatSpan span = flat(std::span(values));
  codec_->encode(span, flat(std::span(wire)), span, 1, *stream);
  stream->synchronize();
  EXPECT_EQ(values, expected.residual);
  EXPECT_EQ(wire, expected.wire);
}

TEST_P(EveryCodec, error_is_bounded_and_not_far_below_the_bound) {
  const auto values = normals(1 << 16);
  const Coded coded = code(*codec_, values);
  const double error = length(coded.residual) / length(values);
  EXPECT_LT(error, GetParam().error);
  EXPECT_GT(error, 0.3 * GetParam().error);  // else the bound says nothing
}

TEST_P(EveryCodec, payload_is_its_bits_and_little_more) {
  const std::int64_t count = 1 << 20;
  const double bits = 8.0 * static_cast<double>(codec_->payload(count)) / static_cast<double>(count);
  EXPECT_GE(bits, GetParam().bits);
  EXPECT_LE(bits, GetParam().bits + 16.0 / static_cast<double>(codec_->grain()) + 0.001);
  EXPECT_EQ(codec_->payload(0), 0);
}

TEST_P(EveryCodec, zero_stays_zero) {
  const Coded coded = code(*codec_, std::vector<float>(1000, 0.0f));
  for (float x : coded.decoded) ASSERT_EQ(x, 0.0f);
}

TEST_P(EveryCodec, blocks_may_be_cut_apart) {
  const std::int64_t grain = codec_->grain();
  const auto values = normals(3 * grain + 5);
  const Coded whole = code(*codec_, values, 9);
  if (GetParam().spec.rounding == Rounding::stochastic || GetParam().spec.kind == CodecKind::natural) return;
  const Coded tail = code(*codec_, {values.begin() + grain, values.end()}, 9);
  EXPECT_TRUE(std::equal(tail.decoded.begin(), tail.decoded.end(), whole.decoded.begin() + grain));
}

TEST_P(EveryCodec, bf16_values_are_encoded_as_the_floats_that_they_are) {
  for (std::int64_t count : {1, 63, 257, 4096, 4097, 10007}) {
    std::vector<Bf16> halves;
    std::vector<float> values;
    for (const float x : normals(count)) {
      halves.emplace_back(x);
      values.push_back(static_cast<float>(halves.back()));
    }
    const Coded expected = code(*codec_, values);
    std::vector<std::uint8_t> wire(expected.wire.size());
    std::vector<float> residual(values.size());
    const auto stream = make_stream(Device{});
    codec_->encode(flat(std::span(halves)), flat(std::span(wire)), flat(std::span(residual)), 1, *stream);
    stream->synchronize();
    EXPECT_EQ(wire, expected.wire) << count;
    EXPECT_EQ(residual, expected.residual) << count;
  }
}

TEST_P(EveryCodec, decoding_may_add) {
  const auto values = normals(777);
  const Coded coded = code(*codec_, values);
  auto sum = values;
  auto wire = coded.wire;
  const auto stream = make_stream(Device{});
  codec_->decode(flat(std::span(wire)), flat(std::span(sum)), Codec::Into::add, *stream);
  stream->synchronize();
  for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], values[i] + coded.decoded[i]);
}

TEST_P(EveryCodec, powers_of_two_scale_through) {
  if (GetParam().spec.kind == CodecKind::fp16) return;  // subnormals
  auto values = normals(2000);
  const Coded once = code(*codec_, values);
  for (float& x : values) x *= 0x1p-20f;
  const Coded scaled = code(*codec_, values);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(scaled.decoded[i], once.decoded[i] * 0x1p-20f);
}

/// The mean over draws of an unbiased codec is the value: |z| < 5 for every element.
bool unbiased(const Codec& codec, std::int64_t draws, bool powers) {
  const auto values = normals(512, 4);
  std::vector<double> sum(values.size());
  std::vector<double> square(values.size());
  double largest_error = 0;  // about one step of the block's codes; of powers, the value itself
  for (std::int64_t draw = 0; draw < draws; ++draw) {
    const Coded coded = code(codec, values, static_cast<std::uint32_t>(draw) * 7919u);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double off = static_cast<double>(coded.decoded[i]) - static_cast<double>(values[i]);
      sum[i] += off;
      square[i] += off * off;
      if (!powers) largest_error = std::max(largest_error, std::abs(off));
    }
  }
  const auto n = static_cast<double>(draws);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double mean = sum[i] / n;
    const double deviation = std::sqrt(square[i] / n - mean * mean) / std::sqrt(n);
    // A code that comes up once in more than `draws` times may not have come up at all.
    const double rare = 10 / n * std::max(largest_error, std::abs(static_cast<double>(values[i])));
    if (std::abs(mean) > 5 * deviation + rare) return false;
  }
  return true;
}

TEST_P(EveryCodec, rounding_at_random_has_no_bias) {
  const bool random =
      GetParam().spec.rounding == Rounding::stochastic || GetParam().spec.kind == CodecKind::natural;
  const bool powers = GetParam().spec.kind == CodecKind::natural;
  // The others are the negative control, as far as their bias shows.
  if (random || GetParam().error > 0.01) {
    EXPECT_EQ(unbiased(*codec_, 1000, powers), random);
  }
}

TEST(Codec, powers_of_two_are_exact_in_natural) {
  const auto codec = make_codec({.kind = CodecKind::natural}, Device{});
  std::vector<float> values;
  for (int power = -90; power <= 30; ++power) {
    values.push_back(std::ldexp(1.0f, power));
    values.push_back(-std::ldexp(1.0f, power));
  }
  EXPECT_EQ(code(*codec, values).decoded, values);
}

TEST(Codec, integers_err_by_half_a_step_at_most) {
  for (const CodecKind kind : {CodecKind::int8, CodecKind::int4}) {
    const auto codec = make_codec({.kind = kind}, Device{});
    const auto values = normals(256);
    float largest = 0;
    for (float x : values) largest = std::max(largest, std::abs(x));
    const float step = largest / (kind == CodecKind::int8 ? 127.0f : 7.0f) * (1 + 0x1p-7f);
    for (float rest : code(*codec, values).residual) ASSERT_LE(std::abs(rest), 0.5f * step);
  }
}

TEST(Codec, rotation_tames_an_outlier) {
  auto values = normals(256);
  values[17] = 60;
  const auto plain = make_codec({.kind = CodecKind::int4}, Device{});
  const auto rotated = make_codec({.kind = CodecKind::int4, .rotate = true}, Device{});
  EXPECT_LT(length(code(*rotated, values).residual), 0.6 * length(code(*plain, values).residual));
}

TEST(Codec, rotation_of_small_integers_is_exact) {
  const auto codec = make_codec({.kind = CodecKind::int8, .rotate = true}, Device{});
  std::vector<float> values(256, 0.0f);
  values[3] = 32;  // its transform is +-2 everywhere: one code
  const Coded coded = code(*codec, values);
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(coded.decoded[i], values[i], 0.3);
}

TEST(Codec, draws_differ_by_key) {
  const auto codec = make_codec({.kind = CodecKind::int4, .rounding = Rounding::stochastic}, Device{});
  const auto values = normals(4096);
  EXPECT_NE(code(*codec, values, 1).wire, code(*codec, values, 2).wire);
  EXPECT_EQ(code(*codec, values, 1).wire, code(*codec, values, 1).wire);
}

}  // namespace
}  // namespace lockstep::comm
