// Made-up data of a real shape, for measuring speed: noise images with labels, noise tokens. Nothing can be
// learnt from it.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/random.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

constexpr Setting kImageSettings[] = {
    {"train", SettingType::integer, "4096", "training images", "[1,inf)"},
    {"test", SettingType::integer, "512", "test images", "[1,inf)"},
    {"channels", SettingType::integer, "3", "channels of an image", "[1,inf)"},
    {"side", SettingType::integer, "224", "pixels of a side", "[1,inf)"},
    {"classes", SettingType::integer, "1000", "labels", "[1,2147483647]"},
    {"seed", SettingType::integer, "1", "another seed, another set", "[0,inf)"},
};
constexpr auto kAllImageSettings = with_output(kImageSettings);

constexpr Setting kTokenSettings[] = {
    {"train", SettingType::integer, "10000000", "training tokens", "[1,inf)"},
    {"validation", SettingType::integer, "1000000", "validation tokens", "[1,inf)"},
    {"classes", SettingType::integer, "50257", "size of the vocabulary", "[1,65536]"},
    {"seed", SettingType::integer, "1", "another seed, another set", "[0,inf)"},
};
constexpr auto kAllTokenSettings = with_output(kTokenSettings);

using Words = std::vector<std::array<std::uint32_t, 4>>;

/// At least `bytes` random bytes of (seed, purpose, index).
const Words& random_words(Words& words, const RandomSource& random, std::size_t bytes) {
  words.resize((bytes + sizeof(Words::value_type) - 1) / sizeof(Words::value_type));
  random.blocks(0, words);
  return words;
}

Written generate_images(const Options& settings) {
  SetWriter writer(settings);
  const Shape shape{settings.integer("channels"), settings.integer("side"), settings.integer("side")};
  const auto seed = static_cast<std::uint64_t>(settings.integer("seed"));
  const auto classes = static_cast<std::uint64_t>(settings.integer("classes"));
  Words words;
  std::uint64_t index = 0;
  for (const char* split : {"train", "test"}) {
    writer.begin_split(split, {{"image", Dtype::u8, shape}, {"label", Dtype::i32, Shape{}}});
    for (std::int64_t left = settings.integer(split); left > 0; --left, ++index) {
      const auto label = static_cast<std::int32_t>(RandomSource(seed, "label", index).below(0, classes));
      random_words(words, RandomSource(seed, "image", index), static_cast<std::size_t>(shape.count()));
      writer.append(1, std::array{bytes_of(words), reinterpret_cast<const std::byte*>(&label)});
    }
  }
  writer.fact("classes", settings.integer("classes"));
  if (!settings.given("source")) writer.fact("source", "lockstep data generate noise_images");
  return writer.finish();
}

Written generate_tokens(const Options& settings) {
  constexpr std::int64_t kBlock = 1 << 16;  // tokens made at once
  SetWriter writer(settings);
  const auto seed = static_cast<std::uint64_t>(settings.integer("seed"));
  const std::int64_t classes = settings.integer("classes");
  std::vector<std::uint16_t> tokens(kBlock);
  Words words;
  std::uint64_t index = 0;
  for (const char* split : {"train", "validation"}) {
    writer.begin_split(split, {{"tokens", Dtype::u16, Shape{}}});
    for (std::int64_t left = settings.integer(split); left > 0; left -= kBlock, ++index) {
      random_words(words, RandomSource(seed, "tokens", index), kBlock * sizeof(std::uint32_t));
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::uint64_t scaled =
            static_cast<std::uint64_t>(words[i / 4][i % 4]) * static_cast<std::uint64_t>(classes);
        tokens[i] = static_cast<std::uint16_t>(scaled >> 32);
      }
      writer.append(std::min(left, kBlock), std::array{bytes_of(tokens)});
    }
  }
  writer.fact("classes", classes);
  if (!settings.given("source")) writer.fact("source", "lockstep data generate noise_tokens");
  return writer.finish();
}

}  // namespace

const DataTool kNoiseImagesGenerator{"noise_images",
                                     "noise of the shape of images with labels, to measure speed",
                                     kAllImageSettings, generate_images};
const DataTool kNoiseTokensGenerator{"noise_tokens", "uniformly drawn tokens, to measure speed",
                                     kAllTokenSettings, generate_tokens};

}  // namespace lockstep::data
