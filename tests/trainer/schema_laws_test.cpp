// Laws of the whole table of settings, key by key: a default may be given, a misspelt key is answered with a
// key that exists, what lies outside a range is refused and its ends are kept, and every choice of parts
// prints a config that is the same config again.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/setting_value.h"
#include "tests/support/refusal.h"
#include "trainer/schema.h"

namespace lockstep::trainer {
namespace {

struct Key {
  std::string name;
  Setting setting;
  std::string kind, row;  ///< empty for sections
};

const std::vector<Key>& keys() {
  static const std::vector<Key> kAll = [] {
    std::vector<Key> all;
    const Schema schema = config_schema();
    for (const SectionSchema& section : schema.sections) {
      for (const Setting& setting : section.settings)
        all.push_back({section.path + "." + std::string(setting.key), setting, "", ""});
    }
    for (const KindSchema& kind : schema.kinds) {
      for (const RowSchema& row : kind.rows) {
        for (const Setting& setting : row.settings)
          all.push_back({kind.kind + "." + std::string(row.name) + "." + std::string(setting.key), setting,
                         kind.kind, std::string(row.name)});
      }
    }
    return all;
  }();
  return kAll;
}

Config config(const std::vector<std::string>& overrides) {
  return Config::parse("model: mlp\n", "laws.yaml", overrides, config_schema());
}
/// With the key's part in use.
Config config_with(const Key& key, const std::string& value) {
  std::vector<std::string> overrides;
  if (!key.kind.empty()) overrides.push_back(key.kind + ".name=" + key.row);
  overrides.push_back(key.name + "=" + value);
  return config(overrides);
}
std::string selection_of(const Key& key) { return key.kind.empty() ? "" : key.kind + ".name=" + key.row; }

TEST(SchemaLaws, there_are_many_keys_and_each_says_what_it_means) {
  std::set<std::string> seen;
  for (const Key& key : keys()) {
    EXPECT_TRUE(seen.insert(key.name).second) << key.name << " twice";
    EXPECT_GT(key.setting.meaning.size(), 8U) << key.name;
    EXPECT_EQ(key.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_."), std::string::npos)
        << key.name;
  }
  EXPECT_GT(seen.size(), 100U);
}

TEST(SchemaLaws, defaults_that_are_given_change_nothing) {
  std::map<std::string, std::vector<std::string>> given;  // by the part that must be in use; "": sections
  for (const Key& key : keys()) {
    if (key.setting.fallback == nullptr) continue;
    given[selection_of(key)].push_back(key.name + "=" + fallback_text(key.setting));
  }
  for (const auto& [part, defaults] : given) {
    std::vector<std::string> plain;
    if (!part.empty()) plain.push_back(part);
    std::vector<std::string> all = plain;
    all.insert(all.end(), defaults.begin(), defaults.end());
    EXPECT_EQ(config(all).fingerprint(), config(plain).fingerprint()) << part;
  }
}

TEST(SchemaLaws, every_misspelt_key_is_refused_with_one_that_exists) {
  std::set<std::string> known;
  for (const Key& key : keys()) known.insert(key.name);
  int right = 0;
  for (const Key& key : keys()) {
    std::string wrong = key.name;
    std::swap(wrong[wrong.size() - 1], wrong[wrong.size() - 2]);
    if (known.contains(wrong) || wrong == key.name || wrong.back() == '.') wrong = key.name + "x";
    try {
      static_cast<void>(config({wrong + "=1"}));
      ADD_FAILURE() << "accepted " << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_NE(std::string(error.what()).find("'" + wrong + "'"), std::string::npos) << error.what();
      right += error.hint().find("'" + key.name + "'") != std::string::npos ? 1 : 0;
    }
  }
  EXPECT_GE(right, static_cast<int>(keys().size()) * 9 / 10) << "the key that was meant is the one proposed";
}

TEST(SchemaLaws, values_of_another_type_are_refused_by_key) {
  for (const Key& key : keys()) {
    if (key.setting.type == SettingType::text || key.setting.type == SettingType::texts) {
      if (key.setting.type == SettingType::text)
        expect_error(Fault::config, {key.name}, [&] { static_cast<void>(config_with(key, "[a, b]")); });
      continue;
    }
    for (const char* wrong : {"many", "\"1\""})
      expect_error(Fault::config, {key.name}, [&] { static_cast<void>(config_with(key, wrong)); });
    if (key.setting.type == SettingType::integer)
      expect_error(Fault::config, {key.name}, [&] { static_cast<void>(config_with(key, "1.5")); });
  }
}

TEST(SchemaLaws, words_outside_the_choices_are_refused_and_each_choice_is_taken) {
  for (const Key& key : keys()) {
    const bool words = key.setting.type == SettingType::text || key.setting.type == SettingType::texts;
    if (!words || key.setting.choices.empty()) continue;
    expect_error(Fault::config, {key.name, "nonsense"},
                 [&] { static_cast<void>(config_with(key, "nonsense")); });
    std::string choices(key.setting.choices);
    for (std::size_t at = 0; at != std::string::npos;) {
      const std::size_t end = choices.find('|', at);
      const std::string word = choices.substr(at, end == std::string::npos ? end : end - at);
      EXPECT_NO_THROW(static_cast<void>(config_with(key, "\"" + word + "\""))) << key.name << " " << word;
      at = end == std::string::npos ? end : end + 1;
    }
  }
}

/// A finite end of a range such as "[0,1)".
struct End {
  double value;
  bool kept;
  double outside;  ///< towards which
};

std::vector<End> ends_of(const Setting& setting) {
  const std::string range(setting.choices);
  if (range.empty() || (range.front() != '[' && range.front() != '(')) return {};
  const std::size_t comma = range.find(',');
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<End> ends;
  const std::string low = range.substr(1, comma - 1),
                    high = range.substr(comma + 1, range.size() - comma - 2);
  if (!low.empty() && low != "-inf") ends.push_back({std::stod(low), range.front() == '[', -infinity});
  if (!high.empty() && high != "inf") ends.push_back({std::stod(high), range.back() == ']', infinity});
  return ends;
}

TEST(SchemaLaws, ends_of_ranges_are_kept_or_not_as_they_say_and_what_lies_beyond_is_refused) {
  int checked = 0;
  for (const Key& key : keys()) {
    if (key.setting.type == SettingType::text || key.setting.type == SettingType::texts) continue;
    const bool whole = key.setting.type == SettingType::integer || key.setting.type == SettingType::integers;
    const auto text = [&](double number) {
      char digits[64];
      std::snprintf(digits, sizeof digits, whole ? "%.0f" : "%.17g", number);
      return std::string(digits);
    };
    for (const End& end : ends_of(key.setting)) {
      ++checked;
      const double beyond =
          whole ? end.value + (end.outside > 0 ? 1 : -1) : std::nextafter(end.value, end.outside);
      expect_error(Fault::config, {key.name, "must be in"},
                   [&] { static_cast<void>(config_with(key, text(beyond))); });
      if (end.kept) {
        EXPECT_NO_THROW(static_cast<void>(config_with(key, text(end.value)))) << key.name;
      } else {
        expect_error(Fault::config, {key.name},
                     [&] { static_cast<void>(config_with(key, text(end.value))); });
      }
    }
  }
  EXPECT_GT(checked, 100);
}

TEST(SchemaLaws, every_choice_of_parts_prints_a_config_that_is_the_same_again) {
  const Schema schema = config_schema();
  for (const KindSchema& kind : schema.kinds) {
    for (const RowSchema& row : kind.rows) {
      const Config first = config({kind.kind + "=" + std::string(row.name)});
      EXPECT_EQ(first.part_name(kind.kind), row.name);
      const Config again = Config::parse(first.resolved(), "resolved.yaml", {}, config_schema());
      EXPECT_EQ(again.fingerprint(), first.fingerprint()) << kind.kind << " " << row.name;
      EXPECT_TRUE(again.notes().empty()) << kind.kind << " " << row.name;
    }
  }
}

TEST(SchemaLaws, settings_of_parts_not_in_use_are_noted_and_change_no_fingerprint) {
  const Config plain = config({});
  for (const Key& key : keys()) {
    if (key.kind.empty() || key.setting.fallback == nullptr || plain.part_name(key.kind) == key.row) continue;
    const Config idle = config({key.name + "=" + fallback_text(key.setting)});
    EXPECT_EQ(idle.fingerprint(), plain.fingerprint()) << key.name;
    ASSERT_EQ(idle.notes().size(), 1U) << key.name;
    EXPECT_NE(idle.notes()[0].find("'" + key.name + "' has no effect"), std::string::npos) << idle.notes()[0];
  }
}

TEST(SchemaLaws, what_a_key_is_called_elsewhere_leads_to_a_key_and_hides_none) {
  const Schema schema = config_schema();
  ASSERT_FALSE(schema.known_elsewhere.empty());
  std::set<std::string> names, seen;
  for (const Key& key : keys()) names.insert(key.name);
  for (const KindSchema& kind : schema.kinds) names.insert(kind.kind + ".name");
  for (const auto& [word, key] : schema.known_elsewhere) {
    EXPECT_TRUE(names.contains(std::string(key))) << key;
    EXPECT_TRUE(seen.insert(std::string(word)).second) << word << " twice";
    for (const std::string& name : names) EXPECT_FALSE(name.ends_with("." + std::string(word))) << name;
    try {
      static_cast<void>(config({std::string(word) + "=1"}));
      ADD_FAILURE() << word << " was accepted";
    } catch (const Error& error) {
      EXPECT_NE(error.hint().find("'" + std::string(key) + "'"), std::string::npos) << error.hint();
    }
  }
}

}  // namespace
}  // namespace lockstep::trainer
