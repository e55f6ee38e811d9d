#include "core/options.h"

#include <algorithm>
#include <optional>

#include "core/setting_value.h"
#include "core/yaml_text.h"

namespace lockstep {
namespace {

const Setting* find(std::span<const Setting> settings, std::string_view key) {
  const auto found =
      std::find_if(settings.begin(), settings.end(), [key](const Setting& each) { return each.key == key; });
  return found == settings.end() ? nullptr : &*found;
}

/// Given values were checked at the door, so only a fallback of the table can be malformed.
template <class T>
T parsed(std::optional<T> value, const std::string& where) {
  if (!value) throw Error(Fault::internal, "the fallback of " + where + " has the wrong type");
  return *std::move(value);
}

std::vector<std::string> keys_of(std::span<const Setting> settings) {
  std::vector<std::string> keys;
  for (const Setting& setting : settings) keys.emplace_back(setting.key);
  return keys;
}

}  // namespace

Options::Options(std::string path, std::span<const Setting> settings,
                 std::map<std::string, Given, std::less<>> given)
    : path_(std::move(path)), settings_(settings), given_(std::move(given)) {}

Options Options::of(std::span<const Setting> settings,
                    const std::vector<std::pair<std::string, std::string>>& given,
                    const std::string& origin) {
  std::map<std::string, Given, std::less<>> checked;
  for (const auto& [key, text] : given) {
    const Setting* setting = find(settings, key);
    if (setting == nullptr) {
      throw Error(Fault::config, origin + ": unknown key '" + key + "'",
                  did_you_mean(key, keys_of(settings)));
    }
    const std::string value = text.empty() ? "\"\"" : to_text(parse_yaml_value(text));
    checked[key] = {value, origin};
    check_value(*setting, checked[key], key);
  }
  return {"", settings, std::move(checked)};
}

std::string Options::value(std::string_view key, SettingType type) const {
  const Setting* setting = find(settings_, key);
  if (setting == nullptr || setting->type != type) {
    throw Error(Fault::internal,
                "'" + where(key) + "' is read as " + type_words(type) + " but not declared so");
  }
  const auto found = given_.find(key);
  if (found != given_.end()) return found->second.value;
  if (setting->fallback == nullptr) {
    throw Error(Fault::config, "'" + where(key) + "' must be given", std::string(setting->meaning));
  }
  return fallback_text(*setting);
}

bool Options::boolean(std::string_view key) const {
  return parsed(read_boolean(value(key, SettingType::boolean)), where(key));
}
std::int64_t Options::integer(std::string_view key) const {
  return parsed(read_integer(value(key, SettingType::integer)), where(key));
}
double Options::real(std::string_view key) const {
  return parsed(read_real(value(key, SettingType::real)), where(key));
}
std::string Options::text(std::string_view key) const {
  return parsed(read_text(value(key, SettingType::text)), where(key));
}
std::vector<std::int64_t> Options::integers(std::string_view key) const {
  return parsed(read_integers(value(key, SettingType::integers)), where(key));
}
std::vector<double> Options::reals(std::string_view key) const {
  return parsed(read_reals(value(key, SettingType::reals)), where(key));
}
std::vector<std::string> Options::texts(std::string_view key) const {
  return parsed(read_texts(value(key, SettingType::texts)), where(key));
}

bool Options::given(std::string_view key) const {
  const Setting* setting = find(settings_, key);
  if (setting == nullptr) throw Error(Fault::internal, "'" + where(key) + "' is not declared");
  const auto found = given_.find(key);
  if (found == given_.end()) return false;
  if (setting->fallback == nullptr || found->second.origin != kDefaultOrigin) return true;
  return canonical_text(setting->type, found->second.value) !=
         canonical_text(setting->type, fallback_text(*setting));
}

std::string Options::given_text() const {
  std::string text;
  for (const Setting& setting : settings_) {
    if (!given(setting.key)) continue;
    text +=
        (text.empty() ? "" : ",") + std::string(setting.key) + "=" + given_.find(setting.key)->second.value;
  }
  return text;
}

std::string Options::where(std::string_view key) const {
  const auto found = given_.find(key);
  const std::string full = (path_.empty() ? "" : path_ + ".") + std::string(key);
  return found == given_.end() ? full : full + " (" + found->second.origin + ")";
}

Error unknown_name(std::string_view kind, std::string_view name, const std::vector<std::string>& known) {
  return {Fault::config, "unknown " + std::string(kind) + " '" + std::string(name) + "'",
          did_you_mean(std::string(name), known)};
}

Error not_built(std::string_view kind, std::string_view name) {
  return {Fault::config, std::string(kind) + " '" + std::string(name) + "' is not in this build",
          "choose another " + std::string(kind) +
              ", or install what it needs and build again (see docs/architecture.md)"};
}

}  // namespace lockstep
