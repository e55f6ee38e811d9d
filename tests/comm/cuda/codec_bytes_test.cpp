// Codecs on a GPU make the host's payloads, residuals and decoded values, byte for byte.
#include <cmath>

#include "comm/compress/codec.h"
#include "core/random.h"
#include "tests/comm/cuda/twins.h"

namespace lockstep::comm {
namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;

struct Case {
  const char* name;
  CodecSpec spec;
};

const Case kCases[] = {
    {"bf16", {.kind = CodecKind::bf16}},
    {"fp16", {.kind = CodecKind::fp16}},
    {"int8", {.kind = CodecKind::int8}},
    {"int8_stochastic", {.kind = CodecKind::int8, .rounding = Rounding::stochastic}},
    {"int8_rotated", {.kind = CodecKind::int8, .rotate = true}},
    {"int4", {.kind = CodecKind::int4}},
    {"int4_rotated", {.kind = CodecKind::int4, .rotate = true}},
    {"int4_rotated_stochastic", {.kind = CodecKind::int4, .rounding = Rounding::stochastic, .rotate = true}},
    {"qsgd8", {.kind = CodecKind::int8, .rounding = Rounding::stochastic, .scale = BlockScale::length}},
    {"qsgd4", {.kind = CodecKind::int4, .rounding = Rounding::stochastic, .scale = BlockScale::length}},
    {"natural", {.kind = CodecKind::natural, .rounding = Rounding::stochastic}},
    {"sign", {.kind = CodecKind::sign}},
    {"vote", {.kind = CodecKind::vote}},
    {"ternary", {.kind = CodecKind::ternary}},
};

/// Around warps and blocks of values, prime, and large.
constexpr std::int64_t kCounts[] = {0,   1,   2,    63,   64,   255,  256,    257,
                                    511, 513, 1021, 1024, 1025, 4096, 10'007, 1'000'003};

Floats normals(std::int64_t count, std::uint64_t seed) {
  const RandomSource source(seed, "gpu codec test", 0);
  Floats values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = source.normal(i);
  return values;
}
Floats heavy_tails(std::int64_t count) {
  const Floats spread = normals(count, 3);
  Floats values = normals(count, 2);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= std::exp(5 * spread[i]);
  return values;
}
/// Small numbers, many of them zeros of both signs.
Floats integers(std::int64_t count) {
  Floats values = normals(count, 4);
  for (float& x : values) x = std::round(2 * x);
  return values;
}
/// Scales that vanish, subnormal numbers and whole blocks of zeros.
Floats tiny(std::int64_t count) {
  Floats values = normals(count, 5);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] *= i / 4096 % 2 == 0 ? 1e-38f : i / 2048 % 2 == 0 ? 0.0f : 1e-33f;
  return values;
}

/// What a codec does on one device.
struct Coded {
  Bytes wire, wire_in_place;
  Floats residual, residual_in_place, decoded, added;
};

Coded code(const CodecSpec& spec, const Floats& values, Device device) {
  constexpr std::uint32_t kKey = 12345;
  const auto codec = make_codec(spec, device);
  const auto stream = make_stream(device);
  const auto count = static_cast<std::int64_t>(values.size());
  const FlatArray x = array_of(values, device), in_place = array_of(values, device);
  const FlatArray wire = make_array(device, Dtype::u8, codec->payload(count));
  const FlatArray other = make_array(device, Dtype::u8, codec->payload(count));
  const FlatArray residual = make_array(device, Dtype::f32, count),
                  decoded = make_array(device, Dtype::f32, count);
  const FlatArray added = array_of(normals(count, 9), device);
  codec->encode(x.span, wire.span, {}, kKey, *stream);
  codec->encode(x.span, wire.span, residual.span, kKey, *stream);
  codec->encode(in_place.span, other.span, in_place.span, kKey, *stream);
  codec->decode(wire.span, decoded.span, Codec::Into::replace, *stream);
  codec->decode(wire.span, added.span, Codec::Into::add, *stream);
  stream->synchronize();
  return {host_copy<std::uint8_t>(wire.span), host_copy<std::uint8_t>(other.span),
          host_copy<float>(residual.span),    host_copy<float>(in_place.span),
          host_copy<float>(decoded.span),     host_copy<float>(added.span)};
}

class GpuCodec : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { LOCKSTEP_NEEDS_VISIBLE_GPU(); }
  static void expect_same(const Floats& values, const std::string& what) {
    const Coded host = code(GetParam().spec, values, Device{});
    const Coded gpu = code(GetParam().spec, values, kGpu);
    const std::string where = std::to_string(values.size()) + " " + what;
    EXPECT_TRUE(same_bits(host.wire, gpu.wire)) << "payload of " << where;
    EXPECT_TRUE(same_bits(host.residual, gpu.residual)) << "residual of " << where;
    EXPECT_TRUE(same_bits(host.wire_in_place, gpu.wire_in_place)) << "payload in place of " << where;
    EXPECT_TRUE(same_bits(host.residual_in_place, gpu.residual_in_place)) << "residual in place of " << where;
    EXPECT_TRUE(same_bits(host.decoded, gpu.decoded)) << "decoded " << where;
    EXPECT_TRUE(same_bits(host.added, gpu.added)) << "added " << where;
  }
};
INSTANTIATE_TEST_SUITE_P(Codecs, GpuCodec, testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(GpuCodec, has_the_hosts_bytes_at_every_size) {
  for (const std::int64_t count : kCounts) expect_same(normals(count, 1), "normal numbers");
}

TEST_P(GpuCodec, has_the_hosts_bytes_for_numbers_of_all_kinds) {
  expect_same(heavy_tails(40'009), "numbers with heavy tails");
  expect_same(integers(40'009), "small integers");
  expect_same(tiny(40'009), "tiny numbers");
  expect_same(Floats(5000, 0.0f), "zeros");
  expect_same(Floats(5000, -3.5f), "equal numbers");
}

TEST_P(GpuCodec, has_the_hosts_bytes_for_bf16_values) {
  for (const std::int64_t count : {1, 257, 1021, 4097, 100'003}) {
    std::vector<Bf16> halves;
    for (const float x : normals(count, 6)) halves.emplace_back(x);
    Bytes wires[2];
    Floats residuals[2];
    for (const Device& device : {Device{}, kGpu}) {
      const std::size_t which = device == kGpu ? 1 : 0;
      const auto codec = make_codec(GetParam().spec, device);
      const auto stream = make_stream(device);
      const FlatArray x = array_of(halves, device), residual = make_array(device, Dtype::f32, count);
      const FlatArray wire = make_array(device, Dtype::u8, codec->payload(count));
      codec->encode(x.span, wire.span, residual.span, 5, *stream);
      stream->synchronize();
      wires[which] = host_copy<std::uint8_t>(wire.span);
      residuals[which] = host_copy<float>(residual.span);
    }
    EXPECT_TRUE(same_bits(wires[0], wires[1])) << "payload of " << count;
    EXPECT_TRUE(same_bits(residuals[0], residuals[1])) << "residual of " << count;
  }
}

/// The mean of some payloads, on one device.
Floats mean_of(const CodecSpec& spec, std::int64_t count, int payloads, Device device) {
  const auto codec = make_codec(spec, device);
  const auto stream = make_stream(device);
  std::vector<FlatArray> arrays;
  std::vector<FlatSpan> wires;
  for (int i = 0; i < payloads; ++i) {
    const FlatArray x = array_of(normals(count, 20 + static_cast<std::uint64_t>(i)), device);
    arrays.push_back(make_array(device, Dtype::u8, codec->payload(count)));
    wires.push_back(arrays.back().span);
    codec->encode(x.span, wires.back(), {}, 7, *stream);
    stream->synchronize();
  }
  const FlatArray mean = make_array(device, Dtype::f32, count);
  codec->decode_sum(wires, 1.0f / static_cast<float>(payloads), mean.span, *stream);
  stream->synchronize();
  return host_copy<float>(mean.span);
}

TEST_P(GpuCodec, sums_of_payloads_have_the_hosts_bits) {
  for (const int payloads : {1, 2, 3, 8, 9}) {
    for (const std::int64_t count : {0, 1, 257, 1021, 4096, 30'011}) {
      const Floats host = mean_of(GetParam().spec, count, payloads, Device{});
      EXPECT_TRUE(same_bits(host, mean_of(GetParam().spec, count, payloads, kGpu)))
          << payloads << " payloads of " << count;
    }
  }
}

TEST_P(GpuCodec, has_the_hosts_shape) {
  const auto host = make_codec(GetParam().spec, Device{}), gpu = make_codec(GetParam().spec, kGpu);
  EXPECT_EQ(host->grain(), gpu->grain());
  for (const std::int64_t count : kCounts) EXPECT_EQ(host->payload(count), gpu->payload(count)) << count;
}

/// The comparison can fail: another key makes other bytes.
TEST(GpuCodecControl, another_draw_differs) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Floats values = normals(5000, 1);
  const auto codec = make_codec({.kind = CodecKind::int8, .rounding = Rounding::stochastic}, kGpu);
  const auto stream = make_stream(kGpu);
  const FlatArray x = array_of(values, kGpu);
  Bytes drawn[2];
  for (std::uint32_t key : {0u, 1u}) {
    const FlatArray wire = make_array(kGpu, Dtype::u8, codec->payload(5000));
    codec->encode(x.span, wire.span, {}, key, *stream);
    stream->synchronize();
    drawn[key] = host_copy<std::uint8_t>(wire.span);
  }
  EXPECT_FALSE(same_bits(drawn[0], drawn[1]));
}

}  // namespace
}  // namespace lockstep::comm
