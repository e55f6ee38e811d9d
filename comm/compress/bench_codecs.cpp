#include <algorithm>

#include "comm/compress/bench_compress.h"
#include "comm/compress/codec.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/stopwatch.h"

namespace lockstep::comm {
namespace {

struct NamedCodec {
  const char* name;
  CodecSpec spec;
};
constexpr NamedCodec kCodecs[] = {
    {"bf16", {.kind = CodecKind::bf16}},
    {"fp16", {.kind = CodecKind::fp16}},
    {"int8", {.kind = CodecKind::int8}},
    {"int8 stochastic", {.kind = CodecKind::int8, .rounding = Rounding::stochastic}},
    {"int8 rotated", {.kind = CodecKind::int8, .rotate = true}},
    {"int4", {.kind = CodecKind::int4}},
    {"int4 rotated", {.kind = CodecKind::int4, .rotate = true}},
    {"qsgd 8", {.kind = CodecKind::int8, .rounding = Rounding::stochastic, .scale = BlockScale::length}},
    {"natural", {.kind = CodecKind::natural}},
    {"sign", {.kind = CodecKind::sign}},
    {"vote", {.kind = CodecKind::vote}},
    {"ternary", {.kind = CodecKind::ternary}},
};

/// The best round: what the loop can do when nobody else takes the core.
double best(const std::vector<double>& times) { return *std::min_element(times.begin(), times.end()); }

/// Seconds of what `enqueue` puts on the stream, by the clock of whoever runs it.
template <class Enqueue>
double timed(Stream& stream, Enqueue&& enqueue) {
  const auto stopwatch = make_stopwatch(stream.device());
  stream.synchronize();
  stopwatch->start(stream);
  enqueue();
  stopwatch->stop(stream);
  stream.synchronize();
  return stopwatch->seconds();
}

struct Arrays {
  Arrays(std::int64_t count, Device device)
      : values(make_array(device, Dtype::f32, count)),
        other(make_array(device, Dtype::f32, count)),
        wire(make_array(device, Dtype::u8, 3 * count + (1 << 16))) {
    const RandomSource source(1, "codec bench", 0);
    std::vector<float> x(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i < 65536 ? source.normal(i) : x[i - 65536] * 1.0001f;
    copy_from_host(x.data(), values.span);
  }
  FlatArray values, other, wire;
};

CodecRow measure(const NamedCodec& named, Arrays& arrays, int rounds, Stream& stream) {
  const auto codec = make_codec(named.spec, stream.device());
  const FlatSpan x = arrays.values.span;
  const FlatSpan rest = arrays.other.span;
  const FlatSpan wire = arrays.wire.span.part(0, codec->payload(x.count));
  std::vector<double> copies, encode, feedback, decode;
  for (int round = 0; round <= rounds; ++round) {
    const double times[] = {timed(stream, [&] { copy(x, rest, stream); }),
                            timed(stream, [&] { codec->encode(x, wire, {}, 1, stream); }),
                            timed(stream, [&] { codec->encode(x, wire, rest, 1, stream); }),
                            timed(stream, [&] { codec->decode(wire, rest, Codec::Into::replace, stream); })};
    if (round == 0) continue;  // touches the memory
    copies.push_back(times[0]);
    encode.push_back(times[1]);
    feedback.push_back(times[2]);
    decode.push_back(times[3]);
  }
  const auto dense = static_cast<double>(x.bytes());
  const auto payload = static_cast<double>(wire.count);
  return {.codec = named.name,
          .values = x.count,
          .payload = wire.count,
          .ratio = dense / payload,
          .encode = (dense + payload) / best(encode),
          .encode_feedback = (2 * dense + payload) / best(feedback),
          .decode = (payload + dense) / best(decode),
          .copy = 2 * dense / best(copies)};
}

}  // namespace

std::vector<CodecRow> bench_codecs(std::int64_t values, int rounds, Device device) {
  if (values < 1 || rounds < 1)
    throw Error(Fault::config,
                std::to_string(rounds) + " rounds of " + std::to_string(values) + " values measure nothing",
                "give at least one of both; --values 0 leaves the codecs out");
  const auto stream = make_stream(device, {.name = "bench"});
  Arrays arrays(values, device);
  std::vector<CodecRow> rows;
  for (const NamedCodec& named : kCodecs) rows.push_back(measure(named, arrays, rounds, *stream));
  return rows;
}

}  // namespace lockstep::comm
