// Values as text: what reads as which type, what is refused, and the texts that come back the same.
#include "core/setting_value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/yaml_text.h"

namespace lockstep {
namespace {

using Texts = std::vector<std::string>;

TEST(SettingValue, whole_numbers_read_in_every_spelling) {
  const std::vector<std::pair<const char*, std::int64_t>> right = {
      {"0", 0},
      {"-7", -7},
      {"+7", 7},
      {"007", 7},
      {"1e3", 1000},
      {"2.5E1", 25},
      {"-1e15", -1'000'000'000'000'000},
      {"9223372036854775807", std::numeric_limits<std::int64_t>::max()},
      {"-9223372036854775808", std::numeric_limits<std::int64_t>::min()}};
  for (const auto& [text, value] : right) EXPECT_EQ(read_integer(text), value) << text;
}

TEST(SettingValue, what_is_no_whole_number_is_none) {
  for (const char* text : {"1.0", "1.5e0", "1e-1", "9223372036854775808", "1e19", "12 13", "0x10", "1_000",
                           "--1", "+-1", "-+1", "+", "e3", "'7'", "\"7\"", "[7]", "true", "~", "{}"}) {
    EXPECT_FALSE(read_integer(text)) << text;
  }
}

TEST(SettingValue, numbers_read_in_every_spelling) {
  const std::vector<std::pair<const char*, double>> right = {
      {"0", 0}, {"-0.5", -0.5}, {".5", 0.5}, {"5.", 5}, {"+1e-3", 1e-3}, {"3", 3}, {"5e-324", 5e-324}};
  for (const auto& [text, value] : right) EXPECT_EQ(read_real(text), value) << text;
  EXPECT_EQ(read_real(".inf"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(read_real("-.inf"), -std::numeric_limits<double>::infinity());
  for (const char* text : {".nan", "nan", "1e400", "1,5", "1.2.3", "'1'", "one", "~", "[1]", "+-1"}) {
    EXPECT_FALSE(read_real(text)) << text;
  }
}

TEST(SettingValue, truth_has_few_spellings) {
  for (const char* yes : {"true", "True", "yes", "on"}) EXPECT_EQ(read_boolean(yes), true) << yes;
  for (const char* no : {"false", "False", "no", "off"}) EXPECT_EQ(read_boolean(no), false) << no;
  for (const char* other : {"1", "0", "TRUE!", "y", "'true'", "~", "[true]"})
    EXPECT_FALSE(read_boolean(other)) << other;
}

TEST(SettingValue, text_is_anything_but_null_lists_and_maps) {
  EXPECT_EQ(read_text("12"), "12");
  EXPECT_EQ(read_text("true"), "true");
  EXPECT_EQ(read_text("'~'"), "~");
  EXPECT_EQ(read_text("\"\""), "");
  EXPECT_EQ(read_text("a b"), "a b");
  for (const char* other : {"~", "null", "", "[a]", "{a: b}"}) EXPECT_FALSE(read_text(other)) << other;
}

TEST(SettingValue, lists_take_plain_or_quoted_elements_and_one_scalar) {
  EXPECT_EQ(read_integers("[1, -2, 3e0]"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(read_integers("[]"), std::vector<std::int64_t>{});
  EXPECT_EQ(read_integers("5"), std::vector<std::int64_t>{5});
  EXPECT_FALSE(read_integers("[1, two]"));
  EXPECT_FALSE(read_integers("~"));
  EXPECT_EQ(read_reals("[1, .5, -.inf]"),
            (std::vector<double>{1, 0.5, -std::numeric_limits<double>::infinity()}));
  EXPECT_FALSE(read_reals("[1, .nan]"));
  EXPECT_EQ(read_texts("[a, 'b, c', \"d\\\"e\", 12]"), (Texts{"a", "b, c", "d\"e", "12"}));
  EXPECT_FALSE(read_texts("[a, ~]"));
}

TEST(SettingValue, equal_values_have_equal_canonical_texts_and_others_do_not) {
  const std::vector<std::vector<std::string>> groups = {
      {"0.1", "1e-1", "0.10", "+.1"}, {"0.1000000001"}, {"1", "1.0", "1e0"}, {"-1"}};
  for (std::size_t a = 0; a < groups.size(); ++a) {
    for (std::size_t b = 0; b < groups.size(); ++b) {
      for (const auto& left : groups[a]) {
        for (const auto& right : groups[b]) {
          const bool same =
              canonical_text(SettingType::real, left) == canonical_text(SettingType::real, right);
          EXPECT_EQ(same, a == b) << left << " and " << right;
        }
      }
    }
  }
  EXPECT_EQ(canonical_text(SettingType::boolean, "yes"), canonical_text(SettingType::boolean, "true"));
  EXPECT_EQ(canonical_text(SettingType::text, "a"), canonical_text(SettingType::text, "'a'"));
  EXPECT_NE(canonical_text(SettingType::text, "a"), canonical_text(SettingType::text, "A"));
  EXPECT_EQ(canonical_text(SettingType::integers, "[1, 2]"),
            canonical_text(SettingType::integers, "[1e0,  +2]"));
  EXPECT_NE(canonical_text(SettingType::texts, "['a, b']"), canonical_text(SettingType::texts, "[a, b]"));
  EXPECT_EQ(canonical_text(SettingType::reals, "5"), canonical_text(SettingType::reals, "[5]"));
}

TEST(SettingValue, canonical_numbers_read_back_to_the_same_bits) {
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789}) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", value);
    EXPECT_EQ(read_real(canonical_text(SettingType::real, text)), value);
  }
}

TEST(SettingValue, fallbacks_of_every_type_read_as_their_type) {
  const auto text_of = [](SettingType type, const char* fallback) {
    return fallback_text(Setting{"key", type, fallback, "meaning"});
  };
  EXPECT_EQ(read_text(text_of(SettingType::text, "")), "");
  EXPECT_EQ(read_text(text_of(SettingType::text, "~")), "~");
  EXPECT_EQ(read_text(text_of(SettingType::text, "a: b, [c]")), "a: b, [c]");
  EXPECT_EQ(read_texts(text_of(SettingType::texts, "")), Texts{});
  EXPECT_EQ(read_integer(text_of(SettingType::integer, "12")), 12);
}

TEST(SettingValue, types_have_words_and_lists_are_known) {
  for (const auto type : {SettingType::integers, SettingType::reals, SettingType::texts}) {
    EXPECT_TRUE(is_list(type));
    EXPECT_TRUE(type_words(type).starts_with("a list of")) << type_words(type);
  }
  for (const auto type : {SettingType::boolean, SettingType::integer, SettingType::real, SettingType::text}) {
    EXPECT_FALSE(is_list(type));
  }
}

// ---- --set

std::string told(const std::string& assignment) {
  try {
    std::string all;
    for (const auto& leaf : override_leaves(assignment)) {
      EXPECT_EQ(leaf.origin, "--set");
      all += (all.empty() ? "" : "; ") + leaf.path + " = " + to_text(leaf.value);
    }
    return all;
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    return std::string("refused: ") + error.what();
  }
}

TEST(SetOption, scalars_lists_maps_and_quotes_are_yaml) {
  EXPECT_EQ(told("a.b=1"), "a.b = 1");
  EXPECT_EQ(told("a=[1, 2,three]"), "a = [1, 2, three]");
  EXPECT_EQ(told("a={b: 1, c: {d: [2], e: ~}}"), "a.b = 1; a.c.d = [2]; a.c.e = ~");
  EXPECT_EQ(told("a='x: y'"), "a = \"x: y\"");
  EXPECT_EQ(told("a=\"x\\ny\""), "a = \"x\\ny\"");
  EXPECT_EQ(told("a={}"), "a = {}");
  EXPECT_EQ(told("a=[]"), "a = []");
}

TEST(SetOption, nothing_after_the_sign_is_empty_text_and_further_signs_belong_to_the_value) {
  EXPECT_EQ(told("a="), "a = \"\"");
  EXPECT_EQ(told("a==b=c"), "a = =b=c");
  EXPECT_EQ(told("a=~"), "a = ~");
}

TEST(SetOption, what_is_no_assignment_or_no_yaml_is_refused_with_the_key) {
  EXPECT_EQ(told("a"), "refused: --set 'a' does not say key=value");
  EXPECT_EQ(told("=1"), "refused: --set '=1' does not say key=value");
  EXPECT_EQ(told(""), "refused: --set '' does not say key=value");
  for (const char* bad : {"a.b=[1", "a.b={x: 1", "a.b='open", "a.b=a: b: c"}) {
    EXPECT_TRUE(told(bad).starts_with("refused: --set a.b: not valid YAML")) << told(bad);
  }
  EXPECT_TRUE(told("a.b=[[1], 2]").find("plain values only") != std::string::npos);
  EXPECT_TRUE(told("a={b: 1, b: 2}").find("'a.b' is given twice") != std::string::npos);
}

TEST(YamlValues, any_scalar_comes_back_from_its_text) {
  for (const std::string text : {"",    "~", "true", "12", "- x", "a, b", "[",    "]", "{",  "}",    "#",
                                 " # ", ":", "a: b", "'",  "\"",  "\\",   "%",    "@", "`",  "!tag", "&a",
                                 "*a",  "|", ">",    "\n", "\t",  "\x01", "\x7f", "é", "   "}) {
    const YamlValue back = parse_yaml_value(to_text(YamlScalar{text, true}));
    ASSERT_EQ(back.form, YamlForm::scalar) << text;
    EXPECT_EQ(back.items.front().text, text);
    EXPECT_TRUE(back.items.front().quoted) << text;
    const YamlValue list = parse_yaml_value("[" + to_text(YamlScalar{text, true}) + ", z]");
    ASSERT_EQ(list.items.size(), 2U) << text;
    EXPECT_EQ(list.items.front().text, text);
  }
}

TEST(YamlLeaves, are_told_in_file_order_with_lines_and_comments) {
  const auto leaves = yaml_leaves("a:\n  b: 1 # why\n  c: [x,\n      y]\n# note\nd.e: ~\nf: {}\n", "f.yaml");
  std::string all;
  for (const auto& leaf : leaves) {
    all += leaf.origin + " " + leaf.path + "=" + to_text(leaf.value) +
           (leaf.comment.empty() ? "" : " #" + leaf.comment) + "\n";
  }
  EXPECT_EQ(all, "f.yaml:2 a.b=1 #why\nf.yaml:3 a.c=[x, y]\nf.yaml:6 d.e=~\nf.yaml:7 f={}\n");
}

TEST(YamlLeaves, nesting_without_end_is_refused) {
  std::string deep;
  for (int i = 0; i < 20; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  deep += std::string(20, ' ') + "b: 1\n";
  try {
    (void)yaml_leaves(deep, "f.yaml");
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("nested too deeply"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lockstep
