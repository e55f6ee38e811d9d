// Typed reads of one section, and what its table refuses.
#include "core/options.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <limits>

namespace lockstep {
namespace {

constexpr std::array<Setting, 12> kSettings = {{
    {"nesterov", SettingType::boolean, "false", "look ahead"},
    {"steps", SettingType::integer, "100", "optimizer steps", "[1,inf)"},
    {"rate", SettingType::real, "0.1", "learning rate", "(0,inf)"},
    {"momentum", SettingType::real, "0.9", "share of the old direction", "[0,1)"},
    {"mode", SettingType::text, "exact", "how to sum", "exact|fast"},
    {"folder", SettingType::text, "", "where the data is"},
    {"widths", SettingType::integers, "[64, 32]", "hidden widths", "[1,inf)"},
    {"betas", SettingType::reals, "", "decay rates"},
    {"files", SettingType::texts, "[]", "input files"},
    {"path", SettingType::text, nullptr, "the file to read"},
    {"word", SettingType::text, "null", "a fallback that looks like nothing"},
    {"broken", SettingType::integer, "many", "a malformed fallback"},
}};

using Pairs = std::vector<std::pair<std::string, std::string>>;

Options options(const Pairs& given = {}) { return Options::of(kSettings, given); }

void expect_refused(const std::function<void()>& work, Fault fault, const std::string& part) {
  try {
    work();
    ADD_FAILURE() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault) << error.what();
    const std::string message = std::string(error.what()) + " | " + error.hint();
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(Options, fallbacks_are_read_with_their_type) {
  const Options defaults = options();
  EXPECT_FALSE(defaults.boolean("nesterov"));
  EXPECT_EQ(defaults.integer("steps"), 100);
  EXPECT_EQ(defaults.real("rate"), 0.1);
  EXPECT_EQ(defaults.text("mode"), "exact");
  EXPECT_EQ(defaults.text("folder"), "");
  EXPECT_EQ(defaults.text("word"), "null");
  EXPECT_EQ(defaults.integers("widths"), (std::vector<std::int64_t>{64, 32}));
  EXPECT_TRUE(defaults.reals("betas").empty());
  EXPECT_TRUE(defaults.texts("files").empty());
}

TEST(Options, given_text_names_what_was_given_and_can_be_given_again) {
  EXPECT_EQ(options().given_text(), "");
  const Options given = options({{"steps", "100"}, {"mode", "fast"}});
  EXPECT_EQ(given.given_text(), "steps=100,mode=fast");
}

TEST(Options, given_values_are_read_with_their_type) {
  const Options given = options({{"nesterov", "yes"},
                                 {"steps", "1e6"},
                                 {"rate", "3"},
                                 {"folder", "\"a: b # c\""},
                                 {"widths", "[7]"},
                                 {"betas", "[0.9, 1e-3, .inf]"},
                                 {"files", "[a.h5, 'b, c.h5', 12]"},
                                 {"path", "12"}});
  EXPECT_TRUE(given.boolean("nesterov"));
  EXPECT_EQ(given.integer("steps"), 1000000);
  EXPECT_EQ(given.real("rate"), 3.0);
  EXPECT_EQ(given.text("folder"), "a: b # c");
  EXPECT_EQ(given.integers("widths"), std::vector<std::int64_t>{7});
  EXPECT_EQ(given.reals("betas"), (std::vector<double>{0.9, 1e-3, std::numeric_limits<double>::infinity()}));
  EXPECT_EQ(given.texts("files"), (std::vector<std::string>{"a.h5", "b, c.h5", "12"}));
  EXPECT_EQ(given.text("path"), "12");
}

TEST(Options, given_is_true_for_what_the_user_gave) {
  const Options given = options({{"steps", "100"}, {"rate", "0.2"}, {"path", "x"}});
  EXPECT_TRUE(given.given("steps"));  // also when it equals the fallback
  EXPECT_TRUE(given.given("rate"));
  EXPECT_TRUE(given.given("path"));
  EXPECT_FALSE(given.given("momentum"));
}

TEST(Options, where_names_path_and_origin) {
  const Options sgd("optimizer.sgd", kSettings, {{"rate", {"0.5", "quickstart.yaml:12"}}});
  EXPECT_EQ(sgd.where("rate"), "optimizer.sgd.rate (quickstart.yaml:12)");
  EXPECT_EQ(sgd.where("steps"), "optimizer.sgd.steps");
  EXPECT_EQ(sgd.real("rate"), 0.5);
}

TEST(Options, missing_value_without_fallback_is_refused_with_its_meaning) {
  expect_refused([] { (void)options().text("path"); }, Fault::config,
                 "'path' must be given | the file to read");
}

TEST(Options, undeclared_key_or_type_is_our_own_mistake) {
  expect_refused([] { (void)options().text("colour"); }, Fault::internal, "colour");
  expect_refused([] { (void)options().real("steps"); }, Fault::internal, "steps");
  expect_refused([] { (void)options().given("colour"); }, Fault::internal, "colour");
  expect_refused([] { (void)options().integer("broken"); }, Fault::internal, "fallback");
}

TEST(Options, unknown_key_is_refused_with_the_nearest) {
  expect_refused([] { (void)options({{"momentun", "0.5"}}); }, Fault::config, "did you mean 'momentum'?");
}

TEST(Options, one_scalar_is_a_list_of_one) {
  EXPECT_EQ(options({{"widths", "64"}}).integers("widths"), std::vector<std::int64_t>{64});
  EXPECT_EQ(options({{"files", "a.h5"}}).texts("files"), std::vector<std::string>{"a.h5"});
}

TEST(Options, wrong_types_are_refused) {
  const Pairs wrong = {{"nesterov", "1"},  {"nesterov", "'true'"}, {"steps", "1.5"},    {"steps", "ten"},
                       {"steps", "'12'"},  {"steps", "[12]"},      {"steps", "12x"},    {"steps", "~"},
                       {"steps", "1e300"}, {"rate", "fast"},       {"rate", "nan"},     {"rate", ".nan"},
                       {"folder", "[a]"},  {"folder", "~"},        {"widths", "6.4"},   {"widths", "[a]"},
                       {"betas", "[[1]]"}, {"files", "~"},         {"files", "{a: b}"}, {"steps", ""},
                       {"rate", "{a: 1}"}, {"files", "[~]"},       {"widths", "[1.5]"}};
  for (const auto& [key, text] : wrong) {
    SCOPED_TRACE(key + " = " + text);
    expect_refused([&] { (void)options({{key, text}}); }, Fault::config, "");
  }
}

TEST(Options, values_out_of_range_are_refused_and_the_ends_are_kept) {
  const Pairs bad = {{"steps", "0"},    {"rate", "0"},      {"rate", "-1"},      {"rate", ".inf"},
                     {"momentum", "1"}, {"momentum", "-1"}, {"widths", "[3, 0]"}};
  for (const auto& [key, text] : bad) {
    SCOPED_TRACE(key + " = " + text);
    expect_refused([&] { (void)options({{key, text}}); }, Fault::config, "must be in");
  }
  EXPECT_EQ(options({{"steps", "1"}}).integer("steps"), 1);
  EXPECT_EQ(options({{"momentum", "0"}}).real("momentum"), 0.0);
}

TEST(Options, word_outside_the_choices_is_refused_with_the_nearest) {
  expect_refused(
      [] {
        (void)options({{"mode", "exakt"}});
      },
      Fault::config, "must be one of exact|fast, not 'exakt'");
  expect_refused([] { (void)options({{"mode", "exakt"}}); }, Fault::config, "did you mean 'exact'?");
  EXPECT_EQ(options({{"mode", "fast"}}).text("mode"), "fast");
}

TEST(Options, numbers_may_be_listed_as_choices) {
  static constexpr std::array<Setting, 1> kDepth = {
      {{"depth", SettingType::integer, "20", "layers", "20|32|44"}}};
  EXPECT_EQ(Options::of(kDepth, {{"depth", "32"}}).integer("depth"), 32);
  expect_refused(
      [] {
        (void)Options::of(kDepth, {{"depth", "33"}});
      },
      Fault::config, "'depth' must be one of 20|32|44, not 33");
}

TEST(Options, malformed_range_in_a_table_is_our_own_mistake) {
  static constexpr std::array<Setting, 1> kMalformed = {{{"x", SettingType::real, "1", "", "[low,1]"}}};
  expect_refused([] { (void)Options::of(kMalformed, {{"x", "0.5"}}); }, Fault::internal, "malformed");
}

}  // namespace
}  // namespace lockstep
