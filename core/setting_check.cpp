// Is a given value what its table row declares: the type, and one of the choices?
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/setting_value.h"

namespace lockstep {
namespace {

bool has_type(SettingType type, std::string_view text) {
  switch (type) {
    case SettingType::boolean:
      return read_boolean(text).has_value();
    case SettingType::integer:
      return read_integer(text).has_value();
    case SettingType::real:
      return read_real(text).has_value();
    case SettingType::text:
      return read_text(text).has_value();
    case SettingType::integers:
      return read_integers(text).has_value();
    case SettingType::reals:
      return read_reals(text).has_value();
    case SettingType::texts:
      return read_texts(text).has_value();
  }
  return false;
}

bool is_text(SettingType type) { return type == SettingType::text || type == SettingType::texts; }

std::vector<std::string> split(std::string_view list, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// One end of "[0,inf)"; an empty or infinite bound is no bound.
double bound(const std::string& text, double unbounded, const Setting& setting) {
  if (text.empty() || text == "inf" || text == "-inf") return unbounded;
  const auto value = read_real(text);
  if (!value) {
    throw Error(Fault::internal, "the range '" + std::string(setting.choices) + "' of '" +
                                     std::string(setting.key) + "' is malformed");
  }
  return *value;
}

/// Is `value` in "[0,1)", or one of "18|34|50"?
bool allowed(const Setting& setting, double value) {
  const std::string_view range = setting.choices;
  if (range.front() != '[' && range.front() != '(') {
    const std::vector<std::string> listed = split(range, '|');
    return std::any_of(listed.begin(), listed.end(),
                       [&](const std::string& each) { return read_real(each) == value; });
  }
  const std::vector<std::string> ends = split(range.substr(1, range.size() - 2), ',');
  const double infinity = std::numeric_limits<double>::infinity();
  const double low = bound(ends.front(), -infinity, setting);
  const double high = bound(ends.back(), infinity, setting);
  const bool above = range.front() == '(' ? value > low : value >= low;
  return above && (range.back() == ')' ? value < high : value <= high);
}

/// All numbers of a scalar or a list; whole numbers are numbers too.
std::vector<double> numbers_of(const Setting& setting, std::string_view text) {
  if (is_list(setting.type)) return read_reals(text).value_or(std::vector<double>{});
  return {read_real(text).value_or(0.0)};
}

std::vector<std::string> words_of(const Setting& setting, std::string_view text) {
  if (is_list(setting.type)) return read_texts(text).value_or(std::vector<std::string>{});
  return {read_text(text).value_or("")};
}

void check_range(const Setting& setting, const Given& given, const std::string& full_key) {
  for (const double value : numbers_of(setting, given.value)) {
    if (allowed(setting, value)) continue;
    const bool listed = setting.choices.find('|') != std::string_view::npos;
    throw Error(Fault::config,
                given.origin + ": '" + full_key + "' must be " + (listed ? "one of " : "in ") +
                    std::string(setting.choices) + ", not " + given.value,
                std::string(setting.meaning));
  }
}

void check_words(const Setting& setting, const Given& given, const std::string& full_key) {
  const std::vector<std::string> choices = split(setting.choices, '|');
  for (const std::string& word : words_of(setting, given.value)) {
    if (std::find(choices.begin(), choices.end(), word) != choices.end()) continue;
    const std::string near = nearest(word, choices);
    throw Error(Fault::config,
                given.origin + ": '" + full_key + "' must be one of " + std::string(setting.choices) +
                    ", not '" + word + "'",
                near.empty() ? std::string(setting.meaning) : "did you mean '" + near + "'?");
  }
}

}  // namespace

void check_value(const Setting& setting, const Given& given, const std::string& full_key) {
  if (!has_type(setting.type, given.value)) {
    const std::string example = is_list(setting.type)
                                    ? "write a list: " + std::string(setting.key) + ": [..., ...]"
                                    : std::string(setting.meaning);
    throw Error(
        Fault::config,
        given.origin + ": '" + full_key + "' takes " + type_words(setting.type) + ", not " + given.value,
        example);
  }
  if (setting.choices.empty()) return;
  if (is_text(setting.type)) {
    check_words(setting, given, full_key);
  } else {
    check_range(setting, given, full_key);
  }
}

}  // namespace lockstep
