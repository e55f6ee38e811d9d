// The compressors that are a codec in the two-shot pattern: casts (bf16, fp16), block-scaled integers (int8,
// int4; QSGD: Alistarh et al., NIPS 2017), powers of two (natural compression: Horvath et al. 2019).
#include "comm/compress/rows.h"
#include "comm/compress/two_shot.h"

namespace lockstep::comm {
namespace {

constexpr Setting kNoFeedback = {"feedback", SettingType::boolean, "false",
                                 "error feedback: keep what rounding lost for the next step"};
constexpr Setting kFeedback = {"feedback", SettingType::boolean, "true",
                               "error feedback: keep what rounding lost for the next step"};
constexpr Setting kNearest = {"rounding", SettingType::text, "nearest",
                              "to the nearest code, or at random without bias", "nearest|stochastic"};

constexpr Setting kCast[] = {kNoFeedback};
constexpr Setting kInt8[] = {
    kNoFeedback,
    kNearest,
    {"rotate", SettingType::boolean, "false", "random Hadamard transform of each block before rounding"}};
constexpr Setting kInt4[] = {
    kFeedback,
    kNearest,
    {"rotate", SettingType::boolean, "true", "random Hadamard transform of each block before rounding"}};
constexpr Setting kQsgd[] = {kNoFeedback,
                             {"bits", SettingType::integer, "8", "bits of a code: 4 or 8", "[4,8]"}};
constexpr Setting kNatural[] = {kNoFeedback};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context,
                                 const CodecSpec& spec) {
  return std::make_unique<TwoShot>(context, options.boolean("feedback"), make_codec(spec, context.device));
}

Rounding rounding_of(const Options& options) {
  return options.text("rounding") == "nearest" ? Rounding::nearest : Rounding::stochastic;
}

std::unique_ptr<Compressor> make_bf16(const Options& options, const CompressorContext& context) {
  return make(options, context, {.kind = CodecKind::bf16});
}
std::unique_ptr<Compressor> make_fp16(const Options& options, const CompressorContext& context) {
  return make(options, context, {.kind = CodecKind::fp16});
}
std::unique_ptr<Compressor> make_int8(const Options& options, const CompressorContext& context) {
  return make(
      options, context,
      {.kind = CodecKind::int8, .rounding = rounding_of(options), .rotate = options.boolean("rotate")});
}
std::unique_ptr<Compressor> make_int4(const Options& options, const CompressorContext& context) {
  return make(
      options, context,
      {.kind = CodecKind::int4, .rounding = rounding_of(options), .rotate = options.boolean("rotate")});
}
std::unique_ptr<Compressor> make_qsgd(const Options& options, const CompressorContext& context) {
  const std::int64_t bits = options.integer("bits");
  if (bits != 4 && bits != 8)
    throw Error(Fault::config, options.where("bits") + " is " + std::to_string(bits), "use 4 or 8");
  return make(options, context,
              {.kind = bits == 8 ? CodecKind::int8 : CodecKind::int4,
               .rounding = Rounding::stochastic,
               .scale = BlockScale::length});
}
std::unique_ptr<Compressor> make_natural(const Options& options, const CompressorContext& context) {
  return make(options, context, {.kind = CodecKind::natural, .rounding = Rounding::stochastic});
}

}  // namespace

const CompressorRegistry::Row kBf16{"bf16", "bfloat16 on the wire, two-shot; half the bytes", kCast,
                                    make_bf16};
const CompressorRegistry::Row kFp16{"fp16", "IEEE half on the wire, two-shot; half the bytes", kCast,
                                    make_fp16};
const CompressorRegistry::Row kInt8Row{"int8", "8-bit integers in scaled blocks of 256", kInt8, make_int8};
const CompressorRegistry::Row kInt4Row{"int4", "4-bit integers in rotated, scaled blocks of 256", kInt4,
                                       make_int4};
const CompressorRegistry::Row kQsgdRow{"qsgd", "unbiased integers scaled by a block's length", kQsgd,
                                       make_qsgd};
const CompressorRegistry::Row kNaturalRow{"natural", "unbiased powers of two, 8 bits", kNatural,
                                          make_natural};

}  // namespace lockstep::comm
