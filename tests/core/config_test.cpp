// A config that is right: what it selects, what it overrides, what it prints, and that the print is the
// config again.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/options.h"
#include "tests/core/toy_schema.h"

namespace lockstep {
namespace {

constexpr const char* kText = R"(# a recipe
train:
  steps: 2000   # enough
  title: "a # title: 12"
  milestones: [1000, 1500]
  batch:
    global: 12
optimizer:
  name: sgd
  sgd: {momentum: 0.5}
  adamw:
    betas: [0.8, 0.9]
)";

Config config(const std::vector<std::string>& overrides = {}, const std::string& text = kText) {
  return Config::parse(text, "toy.yaml", overrides, toy::schema());
}

TEST(Config, sections_and_parts_read_what_the_file_says) {
  const Config toy = config();
  EXPECT_EQ(toy.section("train").integer("steps"), 2000);
  EXPECT_EQ(toy.section("train").text("title"), "a # title: 12");
  EXPECT_EQ(toy.section("train").integers("milestones"), (std::vector<std::int64_t>{1000, 1500}));
  EXPECT_EQ(toy.section("train.batch").integer("global"), 12);
  EXPECT_EQ(toy.section("train.batch").text("tail"), "pad");
  EXPECT_EQ(toy.part_name("optimizer"), "sgd");
  EXPECT_EQ(toy.part("optimizer").real("momentum"), 0.5);
  EXPECT_EQ(toy.part("optimizer").path(), "optimizer.sgd");
  EXPECT_EQ(toy.part_name("sync.inner"), "none");
}

TEST(Config, where_tells_file_and_line) {
  EXPECT_EQ(config().section("train").where("steps"), "train.steps (toy.yaml:3)");
  EXPECT_EQ(config().part("optimizer").where("momentum"), "optimizer.sgd.momentum (toy.yaml:10)");
  EXPECT_EQ(config({"train.steps=5"}).section("train").where("steps"), "train.steps (--set)");
}

TEST(Config, keys_of_unselected_parts_are_noted_and_readable) {
  const Config toy = config();
  ASSERT_EQ(toy.notes().size(), 1u);
  EXPECT_EQ(toy.notes()[0],
            "toy.yaml:12: 'optimizer.adamw.betas' has no effect: the optimizer in use is 'sgd'");
  EXPECT_EQ(toy.part("optimizer", "adamw").reals("betas"), (std::vector<double>{0.8, 0.9}));
  EXPECT_EQ(config({"optimizer.name=adamw"}).notes().size(), 1u);  // now momentum is the idle one
}

TEST(Config, overrides_replace_and_the_last_one_wins) {
  const Config toy = config({"train.steps=5", "train.milestones=[1, 2]", "optimizer.name=adamw",
                             "train.steps=6", "train.title=", "train.batch={global: 3, tail: drop}"});
  EXPECT_EQ(toy.section("train").integer("steps"), 6);
  EXPECT_EQ(toy.section("train").integers("milestones"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(toy.section("train").text("title"), "");
  EXPECT_EQ(toy.part_name("optimizer"), "adamw");
  EXPECT_EQ(toy.section("train.batch").integer("global"), 3);
  EXPECT_EQ(toy.section("train.batch").text("tail"), "drop");
}

TEST(Config, value_of_an_override_may_hold_equals_signs) {
  EXPECT_EQ(config({"train.title=a=b"}).section("train").text("title"), "a=b");
}

TEST(Config, short_form_of_a_kind_selects_by_name) {
  const std::string text = "train.steps: 1\noptimizer: adamw\nsync: {inner: twice}\n";
  const Config toy = config({}, text);
  EXPECT_EQ(toy.part_name("optimizer"), "adamw");
  EXPECT_EQ(toy.part_name("sync.inner"), "twice");
  EXPECT_EQ(toy.part("sync.inner").integer("global"), 64);
  EXPECT_EQ(config({"optimizer=sgd"}, text).part_name("optimizer"), "sgd");
}

TEST(Config, empty_sections_and_parts_are_fine) {
  const Config toy =
      config({}, "train:\n  steps: 1\n  batch:\noptimizer: {sgd: {}, adamw: }\ndata:\n  none:\n");
  EXPECT_EQ(toy.part_name("optimizer"), "sgd");
  EXPECT_TRUE(toy.notes().empty());
}

TEST(Config, empty_text_is_a_config_when_overrides_give_the_rest) {
  EXPECT_EQ(config({"train.steps=3"}, "").section("train").integer("steps"), 3);
  EXPECT_EQ(config({"train.steps=3"}, "# nothing\n").section("train").integer("steps"), 3);
}

TEST(Config, resolved_lists_every_key_in_force_with_its_origin) {
  EXPECT_EQ(config({"train.seed=7"}).resolved(),
            "train:\n"
            "  steps: 2000  # toy.yaml:3\n"
            "  seed: 7  # --set\n"
            "  title: \"a # title: 12\"  # toy.yaml:4\n"
            "  milestones: [1000, 1500]  # toy.yaml:5\n"
            "  batch:\n"
            "    global: 12  # toy.yaml:7\n"
            "    tail: pad  # default\n"
            "optimizer:\n"
            "  name: sgd  # toy.yaml:9\n"
            "  sgd:\n"
            "    momentum: 0.5  # toy.yaml:10\n"
            "    nesterov: false  # default\n"
            "data:\n"
            "  name: none  # default\n"
            "sync:\n"
            "  inner:\n"
            "    name: none  # default\n");
}

TEST(Config, resolved_parses_back_to_the_same_config) {
  const Config first = config({"data=reader", "data.reader.path='a \"b\\c\": [d], e'", "sync.inner=twice"});
  const Config second = config({}, first.resolved());
  EXPECT_EQ(second.part("data").text("path"), first.part("data").text("path"));
  EXPECT_EQ(second.fingerprint(), first.fingerprint());
  EXPECT_TRUE(second.notes().empty());
  EXPECT_FALSE(second.section("train").given("seed"));
  EXPECT_TRUE(second.section("train").given("steps"));
}

TEST(Config, resolved_remembers_what_nobody_gave) {
  const Config first = config({"train.batch.tail=pad"});  // given, though it is the fallback
  const Config second = config({}, first.resolved());
  EXPECT_TRUE(second.section("train.batch").given("tail"));
  EXPECT_FALSE(second.part("optimizer").given("nesterov"));
  EXPECT_TRUE(config({"optimizer.sgd.nesterov=false"}, first.resolved()).part("optimizer").given("nesterov"));
  std::string edited = first.resolved();
  edited.replace(edited.find("nesterov: false"), 15, "nesterov: true");  // by hand, comment left behind
  EXPECT_TRUE(config({}, edited).part("optimizer").boolean("nesterov"));
  EXPECT_TRUE(config({}, edited).part("optimizer").given("nesterov"));
  EXPECT_EQ(config({"optimizer=adamw"}, first.resolved()).notes().size(),
            1u);  // momentum, not the default nesterov
}

TEST(Config, awkward_texts_survive_the_resolved_config) {
  for (const std::string text :
       {"", "null", "~", "true", "12", "- a", "a\nb\tc", "\"", "\\", "é ☃", " x ", "#", "[", "@a", "\x01"}) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c == '\n' ? std::string("\\n") : c == '\x01' ? std::string("\\x01") : std::string(1, c);
    }
    const Config first = config({"train.title=" + quoted + "\""});
    ASSERT_EQ(first.section("train").text("title"), text);
    EXPECT_EQ(config({}, first.resolved()).section("train").text("title"), text);
  }
}

TEST(Config, fingerprint_depends_on_values_in_force_and_nothing_else) {
  const std::uint64_t print = config().fingerprint();
  EXPECT_EQ(config({"optimizer.sgd.momentum=5e-1"}).fingerprint(), print);  // the same number
  EXPECT_EQ(config({"optimizer.adamw.betas=[0.1]"}).fingerprint(), print);  // not in use
  EXPECT_EQ(config({"train.seed=1"}).fingerprint(), print);                 // the fallback
  EXPECT_EQ(config({"train.seed=2", "train.seed=1"}).fingerprint(), print);
  EXPECT_NE(config({"train.seed=2"}).fingerprint(), print);
  EXPECT_NE(config({"optimizer=adamw"}).fingerprint(), print);
}

TEST(Config, file_is_read_and_named) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "lockstep_config_test.yaml";
  std::ofstream(path) << kText;
  const Config toy = Config::load(path.string(), {"train.seed=3"}, toy::schema());
  EXPECT_EQ(toy.section("train").where("steps"), "train.steps (" + path.string() + ":3)");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace lockstep
