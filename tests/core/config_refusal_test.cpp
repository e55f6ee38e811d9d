// A config that is wrong: every refusal names file and line, the key, and the cure.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/options.h"
#include "tests/core/toy_schema.h"

namespace lockstep {
namespace {

struct Case {
  std::string text;
  std::string what;  ///< the beginning of the message
  std::string hint;  ///< a part of the hint
};

std::string below_train(const std::string& text) { return "train:\n  steps: 10\n" + text; }

void expect_refused(const Case& bad, const std::vector<std::string>& overrides = {}) {
  SCOPED_TRACE(bad.text);
  try {
    (void)Config::parse(bad.text, "toy.yaml", overrides, toy::schema());
    ADD_FAILURE() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_EQ(std::string(error.what()).substr(0, bad.what.size()), bad.what);
    EXPECT_NE(error.hint().find(bad.hint), std::string::npos) << error.hint();
  }
}

TEST(ConfigRefusal, unknown_key_names_line_and_nearest_key) {
  expect_refused({below_train("  sead: 3\n"), "toy.yaml:3: unknown key 'train.sead'", "'train.seed'"});
  expect_refused({below_train("optimiser:\n  sgd:\n    momentum: 0.5\n"),
                  "toy.yaml:5: unknown key 'optimiser.sgd.momentum'", "'optimizer.sgd.momentum'"});
  expect_refused({below_train("optimizer:\n  momentum: 0.5\n"),
                  "toy.yaml:4: unknown key 'optimizer.momentum'", "'optimizer.sgd.momentum'"});
  expect_refused(
      {below_train("momentum: 0.5\n"), "toy.yaml:3: unknown key 'momentum'", "'optimizer.sgd.momentum'"});
  expect_refused({below_train("optimizer: {adamw: {beta: [1]}}\n"),
                  "toy.yaml:3: unknown key 'optimizer.adamw.beta'", "'optimizer.adamw.betas'"});
  expect_refused({below_train("weather: sunny\n"), "toy.yaml:3: unknown key 'weather'", ""});
  expect_refused(
      {below_train("optimizer: {rmsprop: {}}\n"), "toy.yaml:3: unknown key 'optimizer.rmsprop'", ""});
}

TEST(ConfigRefusal, wrong_type_and_bad_choice_name_line_and_value) {
  expect_refused({"train:\n  steps: many\n", "toy.yaml:2: 'train.steps' takes a whole number, not many",
                  "optimizer steps"});
  expect_refused({"train: {steps: 0}\n", "toy.yaml:1: 'train.steps' must be in [1,inf), not 0", ""});
  expect_refused({below_train("  batch:\n    tail: padd\n"),
                  "toy.yaml:4: 'train.batch.tail' must be one of pad|drop, not 'padd'", "'pad'"});
  expect_refused({below_train("  milestones: many\n"),
                  "toy.yaml:3: 'train.milestones' takes a list of whole numbers, not many", "milestones: ["});
  expect_refused({below_train("  seed:\n"), "toy.yaml:3: 'train.seed' takes a whole number, not ~", ""});
}

TEST(ConfigRefusal, keys_of_unselected_parts_are_still_checked) {
  expect_refused({below_train("optimizer:\n  name: sgd\n  adamw: {betas: high}\n"),
                  "toy.yaml:5: 'optimizer.adamw.betas' takes a list of numbers, not high", ""});
}

TEST(ConfigRefusal, unknown_part_names_the_known_ones) {
  expect_refused({below_train("optimizer: {name: adamv}\n"), "toy.yaml:3: unknown optimizer 'adamv'",
                  "did you mean 'adamw'? known: adamw, sgd"});
  expect_refused({below_train("optimizer: adamv\n"), "toy.yaml:3: unknown optimizer 'adamv'", "'adamw'"});
  expect_refused(
      {below_train("optimizer: [sgd]\n"), "toy.yaml:3: 'optimizer' is a section", "'optimizer.name'"});
  expect_refused({below_train("optimizer: {name: [sgd]}\n"), "toy.yaml:3: unknown optimizer", "sgd"});
}

TEST(ConfigRefusal, section_with_a_value_and_value_with_keys_are_told_apart) {
  expect_refused({"train: 5\n", "toy.yaml:1: 'train' is a section, it takes no value", ""});
  expect_refused(
      {"train: {steps: {first: 5}}\n", "toy.yaml:1: 'train.steps' takes a whole number, so there is no", ""});
  expect_refused(
      {below_train("optimizer: {name: {sgd: 1}}\n"), "toy.yaml:3: 'optimizer.name' takes a name", ""});
}

TEST(ConfigRefusal, missing_required_keys_are_named) {
  expect_refused(
      {"optimizer: sgd\n", "toy.yaml: 'train.steps' must be given", "optimizer steps (a whole number)"});
  expect_refused(
      {below_train("data: reader\n"), "toy.yaml: 'data.reader.path' must be given", "the file to read"});
  Schema schema = toy::schema();
  schema.kinds[0].fallback = "";
  try {
    (void)Config::parse(below_train(""), "toy.yaml", {}, schema);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "toy.yaml: no optimizer is chosen: 'optimizer.name' must be given");
    EXPECT_EQ(error.hint(), "choose one of sgd, adamw");
  }
}

TEST(ConfigRefusal, repeated_keys_name_the_second_line) {
  expect_refused({below_train("  steps: 11\n"), "toy.yaml:3: key 'train.steps' is given twice", "keep one"});
  expect_refused({below_train("train:\n  seed: 1\n"), "toy.yaml:3: key 'train' is given twice", "keep one"});
  expect_refused({below_train("train.steps: 3\n"),
                  "toy.yaml:3: key 'train.steps' is given twice, first at toy.yaml:2", ""});
}

TEST(ConfigRefusal, syntax_errors_name_the_line) {
  expect_refused({below_train("\tseed: 1\n"), "toy.yaml:3: a tab in the indentation", "spaces"});
  expect_refused({below_train("  milestones: [1, 2\n"), "toy.yaml:", ""});
  expect_refused({below_train("  seed 1\n"), "toy.yaml:", ""});
  expect_refused({"- a\n- b\n", "toy.yaml:1: a config is a map", ""});
  expect_refused({"just words\n", "toy.yaml:1: a config is a map", ""});
  expect_refused({below_train("---\ntrain: {}\n"), "toy.yaml:4: more than one YAML document", ""});
  expect_refused({",1\n", "toy.yaml:1: a comma outside of a list", "quotes"});
  expect_refused({below_train("  milestones: [[1]]\n"), "toy.yaml:3: a list may hold plain values only", ""});
  expect_refused({"? [a, b]\n: c\n", "toy.yaml:1: a key must be a word", ""});
  expect_refused({"a: &loop\n  b: *loop\n", "toy.yaml:", ""});
}

TEST(ConfigRefusal, overrides_are_checked_like_the_file) {
  const std::string text = below_train("");
  expect_refused({text, "--set: unknown key 'train.sed'", "'train.seed'"}, {"train.sed=1"});
  expect_refused({text, "--set: 'train.seed' takes a whole number, not one", ""}, {"train.seed=one"});
  expect_refused({text, "--set: 'train.seed' takes a whole number, not \"\"", ""}, {"train.seed="});
  expect_refused({text, "--set 'train.seed' does not say key=value", "train.steps=100"}, {"train.seed"});
  expect_refused({text, "--set '=3' does not say key=value", ""}, {"=3"});
  expect_refused({text, "--set train.milestones: not valid YAML", ""}, {"train.milestones=[1,"});
  expect_refused({text, "--set: unknown optimizer 'sdg'", "'sgd'"}, {"optimizer=sdg"});
  expect_refused({text, "--set train.seed: a comma outside of a list", "quotes"}, {"train.seed=,1"});
}

TEST(ConfigRefusal, missing_file_and_folder_are_refused_by_name) {
  for (const std::string& file : {std::string("/nowhere/x.yaml"), ::testing::TempDir()}) {
    try {
      (void)Config::load(file, {}, toy::schema());
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_NE(std::string(error.what()).find("cannot read the config '" + file + "'"), std::string::npos);
    }
  }
}

TEST(ConfigRefusal, asking_for_what_the_schema_lacks_is_our_own_mistake) {
  const Config toy = Config::parse(below_train(""), "toy.yaml", {}, toy::schema());
  EXPECT_THROW((void)toy.section("batch"), Error);
  EXPECT_THROW((void)toy.part_name("colour"), Error);
  EXPECT_THROW((void)toy.part("optimizer", "adagrad"), Error);
  EXPECT_THROW((void)Config().part_name("optimizer"), Error);
  Schema twice = toy::schema();
  twice.sections.push_back({"train", toy::kTrain});
  EXPECT_THROW((void)Config::parse("", "toy.yaml", {}, twice), Error);
}

TEST(ConfigRefusal, fallback_outside_its_own_choices_is_our_own_mistake) {
  static constexpr std::array<Setting, 1> kBad = {
      {{"rate", SettingType::real, "0", "learning rate", "(0,inf)"}}};
  try {
    (void)Config::parse("", "toy.yaml", {}, Schema{{{"train", kBad}}, {}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_STREQ(error.what(), "the settings table: 'train.rate' must be in (0,inf), not 0");
  }
}

}  // namespace
}  // namespace lockstep
