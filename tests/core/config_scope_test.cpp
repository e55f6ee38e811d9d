// Scopes of a config: where each value came from, what an override replaces, what belongs to parts that are
// not selected, and what the printed config keeps.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/options.h"
#include "tests/core/toy_schema.h"

namespace lockstep {
namespace {

using Overrides = std::vector<std::string>;

Config config(const std::string& text, const Overrides& overrides = {}) {
  return Config::parse(text, "toy.yaml", overrides, toy::schema());
}

Error refusal(const std::string& text, const Overrides& overrides = {}) {
  try {
    (void)config(text, overrides);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused: " << text;
  return {Fault::internal, ""};
}

TEST(ConfigScope, value_nobody_gave_has_no_origin_and_is_not_given) {
  const Config toy = config("train: {steps: 5}");
  const Options train = toy.section("train");
  EXPECT_EQ(train.where("seed"), "train.seed");
  EXPECT_EQ(train.integer("seed"), 1);
  EXPECT_FALSE(train.given("seed"));
  EXPECT_TRUE(train.given("steps"));
  EXPECT_EQ(toy.part("optimizer").where("momentum"), "optimizer.sgd.momentum");
}

TEST(ConfigScope, override_takes_over_value_and_origin) {
  const Options train = config("train: {steps: 5, seed: 2}", {"train.seed=3"}).section("train");
  EXPECT_EQ(train.integer("seed"), 3);
  EXPECT_EQ(train.where("seed"), "train.seed (--set)");
  EXPECT_EQ(train.where("steps"), "train.steps (toy.yaml:1)");
}

TEST(ConfigScope, override_by_map_leaves_the_other_keys_of_the_file) {
  const Config toy =
      config("train:\n  steps: 5\n  batch: {global: 8, tail: drop}\n", {"train.batch={global: 16}"});
  EXPECT_EQ(toy.section("train.batch").integer("global"), 16);
  EXPECT_EQ(toy.section("train.batch").text("tail"), "drop");
}

TEST(ConfigScope, bare_name_and_name_key_are_one_key) {
  EXPECT_EQ(config("train.steps: 1\noptimizer: adamw\n", {"optimizer.name=sgd"}).part_name("optimizer"),
            "sgd");
  EXPECT_EQ(config("train.steps: 1\noptimizer: {name: adamw}\n", {"optimizer=sgd"}).part_name("optimizer"),
            "sgd");
  const Error twice = refusal("train.steps: 1\noptimizer: adamw\noptimizer.name: sgd\n");
  EXPECT_STREQ(twice.what(), "toy.yaml:3: key 'optimizer.name' is given twice, first at toy.yaml:2");
}

TEST(ConfigScope, nested_kind_is_chosen_and_set_like_any_other) {
  const Config toy = config("train.steps: 1\n", {"sync.inner=twice", "sync.inner.twice.global=7"});
  EXPECT_EQ(toy.part_name("sync.inner"), "twice");
  EXPECT_EQ(toy.part("sync.inner").integer("global"), 7);
  EXPECT_EQ(toy.part("sync.inner").path(), "sync.inner.twice");
  EXPECT_TRUE(toy.notes().empty());
  EXPECT_EQ(config("train.steps: 1\n", {"sync.inner.twice.global=7"}).notes().size(), 1U);
}

TEST(ConfigScope, required_keys_of_parts_that_are_not_selected_are_not_asked_for) {
  EXPECT_EQ(config("train.steps: 1\n").part_name("data"), "none");
  EXPECT_STREQ(refusal("train.steps: 1\ndata: reader\n").what(),
               "toy.yaml: 'data.reader.path' must be given");
  EXPECT_EQ(config("train.steps: 1\ndata: reader\n", {"data.reader.path=x.h5"}).part("data").text("path"),
            "x.h5");
}

TEST(ConfigScope, parts_by_name_read_their_own_keys_selected_or_not) {
  const Config toy = config("train.steps: 1\noptimizer: {adamw: {betas: [0.5]}}\n");
  EXPECT_EQ(toy.part("optimizer", "adamw").reals("betas"), std::vector<double>{0.5});
  EXPECT_EQ(toy.part("optimizer", "sgd").real("momentum"), 0.9);
  try {
    (void)toy.part("optimizer", "adamv");
    FAIL() << "found";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown optimizer 'adamv'");
  }
}

TEST(ConfigScope, dotted_and_nested_keys_mean_the_same) {
  const Config dotted = config("train.steps: 5\ntrain.batch.global: 8\noptimizer.sgd.momentum: 0.5\n");
  const Config nested =
      config("train:\n  steps: 5\n  batch:\n    global: 8\noptimizer:\n  sgd:\n    momentum: 0.5\n");
  const Config mixed = config("train: {steps: 5, batch.global: 8}\noptimizer.sgd: {momentum: 0.5}\n");
  EXPECT_EQ(dotted.fingerprint(), nested.fingerprint());
  EXPECT_EQ(mixed.fingerprint(), nested.fingerprint());
}

TEST(ConfigScope, order_of_keys_changes_neither_fingerprint_nor_values) {
  EXPECT_EQ(config("train: {seed: 2, steps: 5}").fingerprint(),
            config("train: {steps: 5, seed: 2}").fingerprint());
  EXPECT_NE(config("train: {seed: 5, steps: 2}").fingerprint(),
            config("train: {steps: 5, seed: 2}").fingerprint());
}

TEST(ConfigScope, printed_config_is_a_fixed_point) {
  const Config first = config("train: {steps: 5, title: 'a: # b', milestones: [1, 2]}\n",
                              {"data=reader", "data.reader.path='[x], \"y\"'", "optimizer.sgd.nesterov=yes"});
  const std::string text = first.resolved();
  const Config second = config(text);
  EXPECT_EQ(config(second.resolved()).fingerprint(), first.fingerprint());
  EXPECT_EQ(second.section("train").text("title"), "a: # b");
  EXPECT_EQ(second.part("data").text("path"), "[x], \"y\"");
  EXPECT_TRUE(second.part("optimizer").boolean("nesterov"));
  EXPECT_EQ(second.section("train").where("steps").find("train.steps (toy.yaml:"), 0U);
}

TEST(ConfigScope, last_of_several_overrides_wins_also_between_forms) {
  EXPECT_EQ(config("train.steps: 1\n", {"train={steps: 2, seed: 4}", "train.steps=3"})
                .section("train")
                .integer("steps"),
            3);
  EXPECT_EQ(
      config("train.steps: 1\n", {"train.steps=3", "train={steps: 2}"}).section("train").integer("steps"), 2);
}

TEST(ConfigScope, a_bad_override_is_refused_even_when_a_later_one_mends_it) {
  EXPECT_EQ(refusal("train.steps: 1\n", {"train.steps=none", "train.steps=3"}).fault(), Fault::config);
}

TEST(ConfigScope, nearest_key_is_looked_for_among_siblings_first) {
  const auto hint = [](const std::string& key) { return refusal("train.steps: 1\n", {key + "=1"}).hint(); };
  EXPECT_EQ(hint("train.step"), "did you mean 'train.steps'?");
  EXPECT_EQ(hint("train.batch.globl"), "did you mean 'train.batch.global'?");
  EXPECT_EQ(hint("batch.global"), "did you mean 'train.batch.global'?");
  EXPECT_EQ(hint("momentum"), "did you mean 'optimizer.sgd.momentum'?");
  EXPECT_EQ(hint("completely.unrelated.words.entirely").find("no key is named like this"), 0U);
}

}  // namespace
}  // namespace lockstep
