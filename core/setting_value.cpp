#include "core/setting_value.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/yaml_text.h"

namespace lockstep {
namespace {

/// Doubles hold every whole number up to here, so "1e6" is exact as an integer.
constexpr double kExactIntegers = 9007199254740992.0;

template <class T>
std::optional<T> number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);  // from_chars takes no plus
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<bool> as_boolean(const YamlScalar& scalar) {
  if (scalar.quoted) return std::nullopt;
  for (const char* yes : {"true", "yes", "on", "True"}) {
    if (scalar.text == yes) return true;
  }
  for (const char* no : {"false", "no", "off", "False"}) {
    if (scalar.text == no) return false;
  }
  return std::nullopt;
}

std::optional<double> as_real(const YamlScalar& scalar) {
  if (scalar.quoted) return std::nullopt;
  if (scalar.text == ".inf") return std::numeric_limits<double>::infinity();
  if (scalar.text == "-.inf") return -std::numeric_limits<double>::infinity();
  const auto value = number<double>(scalar.text);
  return value && !std::isnan(*value) ? value : std::nullopt;
}

std::optional<std::int64_t> as_integer(const YamlScalar& scalar) {
  if (scalar.quoted) return std::nullopt;
  if (const auto value = number<std::int64_t>(scalar.text)) return value;
  if (scalar.text.find_first_of("eE") == std::string::npos) return std::nullopt;
  const auto value = number<double>(scalar.text);
  if (!value || std::abs(*value) > kExactIntegers || std::trunc(*value) != *value) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::optional<std::string> as_text(const YamlScalar& scalar) {
  if (scalar.is_null()) return std::nullopt;
  return scalar.text;
}

template <class T>
using ScalarReader = std::optional<T> (*)(const YamlScalar&);

template <class T>
std::optional<T> read_one(std::string_view text, ScalarReader<T> read) {
  const YamlValue value = parse_yaml_value(text);
  if (value.form != YamlForm::scalar) return std::nullopt;
  return read(value.items.front());
}

template <class T>
std::optional<std::vector<T>> read_list(std::string_view text, ScalarReader<T> read) {
  const YamlValue value = parse_yaml_value(text);
  if (value.form != YamlForm::list && value.form != YamlForm::scalar) return std::nullopt;
  std::vector<T> values;  // one scalar is a list of one
  for (const YamlScalar& item : value.items) {
    auto element = read(item);
    if (!element) return std::nullopt;
    values.push_back(std::move(*element));
  }
  return values;
}

/// Canonical text of one scalar; the type has been checked.
std::string canonical_scalar(SettingType type, const YamlScalar& scalar) {
  switch (type) {
    case SettingType::boolean:
      return as_boolean(scalar).value_or(false) ? "true" : "false";
    case SettingType::integer:
    case SettingType::integers:
      return std::to_string(as_integer(scalar).value_or(0));
    case SettingType::real:
    case SettingType::reals: {
      std::array<char, 32> digits{};
      std::snprintf(digits.data(), digits.size(), "%.17g", as_real(scalar).value_or(0.0));
      return digits.data();
    }
    default:
      return to_text(YamlScalar{scalar.text, true});
  }
}

}  // namespace

std::optional<bool> read_boolean(std::string_view text) { return read_one<bool>(text, as_boolean); }
std::optional<std::int64_t> read_integer(std::string_view text) {
  return read_one<std::int64_t>(text, as_integer);
}
std::optional<double> read_real(std::string_view text) { return read_one<double>(text, as_real); }
std::optional<std::string> read_text(std::string_view text) { return read_one<std::string>(text, as_text); }
std::optional<std::vector<std::int64_t>> read_integers(std::string_view text) {
  return read_list<std::int64_t>(text, as_integer);
}
std::optional<std::vector<double>> read_reals(std::string_view text) {
  return read_list<double>(text, as_real);
}
std::optional<std::vector<std::string>> read_texts(std::string_view text) {
  return read_list<std::string>(text, as_text);
}

bool is_list(SettingType type) {
  return type == SettingType::integers || type == SettingType::reals || type == SettingType::texts;
}

std::string fallback_text(const Setting& setting) {
  const std::string text = setting.fallback;
  if (setting.type == SettingType::text) {
    const YamlScalar plain{text, false};
    return to_text(YamlScalar{text, plain.is_null()});
  }
  return text.empty() && is_list(setting.type) ? "[]" : text;
}

std::string canonical_text(SettingType type, std::string_view text) {
  YamlValue value = parse_yaml_value(text);
  std::string canonical;
  for (const YamlScalar& item : value.items)
    canonical += (canonical.empty() ? "" : ", ") + canonical_scalar(type, item);
  return is_list(type) ? "[" + canonical + "]" : canonical;
}

std::string type_words(SettingType type) {
  switch (type) {
    case SettingType::boolean:
      return "true or false";
    case SettingType::integer:
      return "a whole number";
    case SettingType::real:
      return "a number";
    case SettingType::text:
      return "text";
    case SettingType::integers:
      return "a list of whole numbers";
    case SettingType::reals:
      return "a list of numbers";
    case SettingType::texts:
      return "a list of texts";
  }
  return "a value";
}

}  // namespace lockstep
