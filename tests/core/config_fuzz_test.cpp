// Damaged recipes: whatever bytes a config or an override holds, it is read or refused as a config fault with
// the place; nothing else is thrown, and what is read prints a config that reads the same.
#include <gtest/gtest.h>

#include <string>

#include "core/options.h"
#include "core/random.h"
#include "tests/core/toy_schema.h"

namespace lockstep {
namespace {

const std::string kRecipe = R"(train:
  steps: 2000   # enough
  title: "a # title: 12"
  milestones: [1000, 1500]
  batch: {global: 12}
optimizer:
  name: sgd
  sgd: {momentum: 0.5}
  adamw:
    betas: [0.8, 0.9]
)";
/// What makes YAML of a text, and what breaks it.
constexpr char kBytes[] = "{}[]:,#&*!|>'\"%@`-?\\\t\n\r \0\x01\x7f\x80\xc3\xff~.<=0e+_";
const std::string kSpice(kBytes, sizeof kBytes - 1);

struct Verdicts {
  int read = 0, refused = 0;
};

void judge(const std::string& text, const std::vector<std::string>& overrides, Verdicts& verdicts) {
  try {
    const Config config = Config::parse(text, "fuzz.yaml", overrides, toy::schema());
    ++verdicts.read;
    const Config again = Config::parse(config.resolved(), "again.yaml", {}, toy::schema());
    EXPECT_EQ(again.fingerprint(), config.fingerprint()) << text;
  } catch (const Error& error) {
    ++verdicts.refused;
    EXPECT_EQ(error.fault(), Fault::config) << error.what() << "\n" << text;
    const std::string what = error.what();
    EXPECT_TRUE(what.find("fuzz.yaml") != std::string::npos || what.find("--set") != std::string::npos ||
                what.find("'") != std::string::npos)
        << what;
  } catch (const std::exception& other) {
    ADD_FAILURE() << "not our error: " << other.what() << "\n" << text;
  }
}

/// The recipe with a few bytes replaced, put in or taken out.
std::string damaged(std::uint64_t number) {
  const RandomSource random(11, "damaged recipe", number);
  std::string text = kRecipe;
  const std::uint64_t changes = 1 + random.below(0, 3);
  for (std::uint64_t i = 0; i < changes; ++i) {
    const auto at = static_cast<std::size_t>(random.below(4 * i + 1, text.size()));
    const char byte = kSpice[static_cast<std::size_t>(random.below(4 * i + 2, kSpice.size()))];
    const std::uint64_t kind = random.below(4 * i + 3, 3);
    if (kind == 0) text[at] = byte;
    if (kind == 1) text.insert(at, 1, byte);
    if (kind == 2) text.erase(at, 1);
  }
  return text;
}

TEST(DamagedConfig, is_read_or_refused_as_a_config_fault) {
  Verdicts verdicts;
  for (std::uint64_t i = 0; i < 1500; ++i) judge(damaged(i), {}, verdicts);
  EXPECT_GT(verdicts.read, 100) << "the damage is too great to tell anything";
  EXPECT_GT(verdicts.refused, 300) << "the damage is too small to tell anything";
}

TEST(DamagedConfig, cut_anywhere_is_read_or_refused_as_a_config_fault) {
  Verdicts verdicts;
  for (std::size_t length = 0; length <= kRecipe.size(); ++length)
    judge(kRecipe.substr(0, length), {"train.batch.global=1"}, verdicts);
  EXPECT_GT(verdicts.read, 50);
  EXPECT_GT(verdicts.refused, 20);
}

TEST(DamagedOverride, is_read_or_refused_as_a_config_fault) {
  Verdicts verdicts;
  for (const char* key : {"train.steps", "train.title", "train.milestones", "train", "optimizer", ""}) {
    for (const char first : kSpice) {
      for (const char second : {'1', ']', '"', ' '})
        judge(kRecipe, {std::string(key) + "=" + first + second}, verdicts);
    }
  }
  EXPECT_GT(verdicts.read, 20);
  EXPECT_GT(verdicts.refused, 300);
}

TEST(DamagedConfig, of_deep_or_long_nonsense_ends) {
  Verdicts verdicts;
  for (const char* unit : {"[", "{", "- ", "? ", "a: ", "&a ", "*a ", "!", "\"", "|\n", "#"}) {
    std::string text = "train: ";
    for (int i = 0; i < 300; ++i) text += unit;
    judge(text, {}, verdicts);
    judge("train: {title: " + text + "}", {}, verdicts);
  }
  EXPECT_GT(verdicts.refused, 10);
}

}  // namespace
}  // namespace lockstep
