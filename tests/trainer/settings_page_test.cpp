// docs/settings.md lists every key that a recipe may hold, made from the tables themselves. With
// LOCKSTEP_WRITE_DOCS=1 the test writes the page anew instead of comparing.
#include <gtest/gtest.h>
#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "trainer/schema.h"

namespace lockstep::trainer {
namespace {

constexpr auto kPage = LOCKSTEP_SOURCE "/docs/settings.md";
constexpr auto kOpening =
    "# Settings\n\n"
    "Every key that a recipe (a YAML file) or `--set` may hold; made from the tables of the program, and a "
    "test "
    "holds this page to them.\nA part is chosen by `kind.name`, or `kind: name` for short, and set by "
    "`kind.<name>.*`. Values in brackets are ranges; a value without a default must be given.\n";

std::string type_text(SettingType type) {
  switch (type) {
    case SettingType::boolean:
      return "true or false";
    case SettingType::integer:
      return "whole number";
    case SettingType::real:
      return "number";
    case SettingType::text:
      return "text";
    case SettingType::integers:
      return "whole numbers";
    case SettingType::reals:
      return "numbers";
    case SettingType::texts:
      return "texts";
  }
  return {};
}

/// What may be given: the choices of a text, or type and range.
std::string values_text(const Setting& setting) {
  if (setting.choices.empty()) return type_text(setting.type);
  if (setting.type != SettingType::text && setting.type != SettingType::texts)
    return fmt::format("{} {}", type_text(setting.type), setting.choices);
  std::string choices(setting.choices);
  for (std::size_t at = 0; (at = choices.find('|', at)) != std::string::npos; at += 2)
    choices.replace(at, 1, ", ");
  return choices;
}

std::string default_text(const Setting& setting) {
  if (setting.fallback == nullptr) return "";
  return *setting.fallback == '\0' ? "empty" : fmt::format("`{}`", setting.fallback);
}

std::string table(const std::string& path, std::span<const Setting> settings) {
  if (settings.empty()) return "";
  std::string text = "\n| key | values | default | meaning |\n|---|---|---|---|\n";
  for (const Setting& setting : settings)
    text += fmt::format("| `{}.{}` | {} | {} | {} |\n", path, setting.key, values_text(setting),
                        default_text(setting), setting.meaning);
  return text;
}

std::string page(const Schema& schema) {
  std::string text = kOpening;
  for (const SectionSchema& section : schema.sections)
    text += fmt::format("\n## {}\n", section.path) + table(section.path, section.settings);
  for (const KindSchema& kind : schema.kinds) {
    text += fmt::format("\n## {}{}\n\n", kind.kind,
                        kind.fallback.empty() ? " (must be given)" : " (default " + kind.fallback + ")");
    for (const RowSchema& row : kind.rows) text += fmt::format("- `{}`: {}\n", row.name, row.summary);
    for (const RowSchema& row : kind.rows)
      text += table(kind.kind + "." + std::string(row.name), row.settings);
  }
  return text;
}

TEST(SettingsPage, lists_every_key_of_the_tables) {
  const std::string made = page(config_schema());
  if (std::getenv("LOCKSTEP_WRITE_DOCS") != nullptr) std::ofstream(kPage) << made;
  std::ifstream file(kPage);
  const std::string stored{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(stored, made) << "a table has changed: run the test again with LOCKSTEP_WRITE_DOCS=1";
}

}  // namespace
}  // namespace lockstep::trainer
