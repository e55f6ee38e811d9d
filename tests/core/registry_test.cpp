// A toy kind: rows by name, parts that are not built, and the way from config to part.
#include "core/registry.h"

#include <gtest/gtest.h>

#include <array>

namespace lockstep {
namespace {

class Shout {
 public:
  virtual ~Shout() = default;
  [[nodiscard]] virtual std::string say() const = 0;
};

class Loud final : public Shout {
 public:
  Loud(const Options& options, int times) : mark_(options.text("mark")), times_(times) {}
  [[nodiscard]] std::string say() const override {
    std::string words = "hey";
    for (int i = 0; i < times_; ++i) words += mark_;
    return words;
  }

 private:
  std::string mark_;
  int times_;
};

constexpr std::array<Setting, 1> kLoud = {{{"mark", SettingType::text, "!", "what to shout with"}}};

using ShoutRegistry = Registry<Shout, int>;
constexpr std::array<ShoutRegistry::Row, 2> kRows = {
    {{"loud", "says hey", kLoud,
      [](const Options& options, int times) -> std::unique_ptr<Shout> {
        return std::make_unique<Loud>(options, times);
      }},
     {"thunder", "needs another build", {}, nullptr}}};
constexpr ShoutRegistry kShouts("shout", kRows);

TEST(Registry, makes_a_part_from_its_options) {
  EXPECT_EQ(kShouts.create("loud", Options::of(kLoud), 2)->say(), "hey!!");
  EXPECT_EQ(kShouts.create("loud", Options::of(kLoud, {{"mark", "'?'"}}), 1)->say(), "hey?");
  EXPECT_EQ(kShouts.row("thunder").summary, "needs another build");
  EXPECT_EQ(kShouts.rows().size(), 2u);
}

TEST(Registry, unknown_name_lists_the_known_ones_nearest_first) {
  try {
    (void)kShouts.create("thunderr", Options{}, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_STREQ(error.what(), "unknown shout 'thunderr'");
    EXPECT_EQ(error.hint(), "did you mean 'thunder'? known: thunder, loud");
  }
}

TEST(Registry, part_that_is_not_built_says_so) {
  try {
    (void)kShouts.create("thunder", Options{}, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_STREQ(error.what(), "shout 'thunder' is not in this build");
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Registry, schema_leads_from_config_to_part) {
  const Schema schema{{}, {kShouts.schema("loud")}};
  const Config config = Config::parse("shout: {loud: {mark: '#'}}", "toy.yaml", {}, schema);
  EXPECT_EQ(kShouts.create(config.part_name("shout"), config.part("shout"), 3)->say(), "hey###");
  EXPECT_THROW((void)Config::parse("shout: {loud: {mork: x}}", "toy.yaml", {}, schema), Error);
}

TEST(Registry, keys_of_a_part_that_is_not_built_are_known) {
  const Schema schema{{}, {kShouts.schema("loud")}};
  EXPECT_EQ(Config::parse("shout: thunder", "toy.yaml", {}, schema).part_name("shout"), "thunder");
}

}  // namespace
}  // namespace lockstep
