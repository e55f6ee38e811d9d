#include "core/config_keys.h"

#include <algorithm>

#include "core/setting_value.h"

namespace lockstep {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

std::string last_of(const std::string& path) { return path.substr(path.rfind('.') + 1); }

std::vector<std::string> names_of(const KindSchema& kind) {
  std::vector<std::string> names;
  for (const RowSchema& row : kind.rows) names.emplace_back(row.name);
  return names;
}

/// The part that "powersgd:rank=2" names; empty when it names none.
std::string part_with_settings(const std::string& value, const std::vector<std::string>& names) {
  const std::size_t colon = value.find(':');
  if (colon == std::string::npos) return "";
  const auto found = std::ranges::find(names, value.substr(0, colon));
  return found == names.end() ? "" : *found;
}

/// A fallback must fit its own row, or the resolved config would not parse back.
void check_fallback(const Setting& setting, const std::string& key) {
  if (setting.fallback == nullptr) return;
  try {
    check_value(setting, {fallback_text(setting), "the settings table"}, key);
  } catch (const Error& error) {
    throw Error(Fault::internal, error.what(), "the fallback of a setting must be one of its choices");
  }
}

}  // namespace

KnownKeys::KnownKeys(const Schema& schema)
    : elsewhere_(schema.known_elsewhere.begin(), schema.known_elsewhere.end()) {
  for (const SectionSchema& section : schema.sections) {
    scopes_.insert(section.path);
    for (const Setting& setting : section.settings)
      add(section.path + "." + std::string(setting.key), {&setting});
  }
  for (const KindSchema& kind : schema.kinds) {
    add(kind.kind + ".name", {nullptr, &kind, nullptr});
    for (const RowSchema& row : kind.rows) {
      const std::string scope = kind.kind + "." + std::string(row.name);
      scopes_.insert(scope);
      for (const Setting& setting : row.settings)
        add(scope + "." + std::string(setting.key), {&setting, &kind, &row});
    }
  }
}

void KnownKeys::add(const std::string& key, KnownKey known) {
  if (known.setting != nullptr) check_fallback(*known.setting, key);
  if (!keys_.emplace(key, known).second) throw Error(Fault::internal, "key '" + key + "' is declared twice");
  for (std::string scope = parent_of(key); !scope.empty(); scope = parent_of(scope)) scopes_.insert(scope);
}

std::string KnownKeys::key_of(const YamlLeaf& leaf) const {
  if (keys_.contains(leaf.path)) return leaf.path;
  const auto name = keys_.find(leaf.path + ".name");
  const bool is_kind = name != keys_.end() && name->second.setting == nullptr;
  if (is_kind && leaf.value.form == YamlForm::scalar) return name->first;
  if (!scopes_.contains(leaf.path)) throw unknown(leaf);
  if (leaf.value.form == YamlForm::null || leaf.value.form == YamlForm::map) return "";
  throw Error(Fault::config, leaf.origin + ": '" + leaf.path + "' is a section, it takes no value",
              is_kind ? "choose by '" + name->first + "'" : "set one of its keys below it");
}

void KnownKeys::check(const std::string& key, const Given& given) const {
  const KnownKey& known = keys_.at(key);
  if (known.setting != nullptr) {
    check_value(*known.setting, given, key);
    return;
  }
  const auto name = read_text(given.value);
  const std::vector<std::string> names = names_of(*known.kind);
  for (const std::string& each : names) {
    if (name == each) return;
  }
  const Error error = unknown_name(known.kind->kind, name.value_or(given.value), names);
  const std::string part = part_with_settings(name.value_or(""), names);
  throw Error(Fault::config, given.origin + ": " + error.what(),
              part.empty() ? error.hint()
                           : "name '" + part + "' alone and set its keys beside it: " + known.kind->kind +
                                 "." + part + ".KEY=VALUE");
}

Error KnownKeys::unknown(const YamlLeaf& leaf) const {
  for (std::string above = parent_of(leaf.path); !above.empty(); above = parent_of(above)) {
    const auto found = keys_.find(above);
    if (found == keys_.end()) continue;
    const Setting* setting = found->second.setting;
    return {Fault::config,
            leaf.origin + ": '" + above + "' takes " +
                (setting == nullptr ? "a name" : type_words(setting->type)) + ", so there is no '" +
                leaf.path + "'",
            setting == nullptr ? "" : std::string(setting->meaning)};
  }
  const std::string near = nearest_key(leaf.path);
  return {Fault::config, leaf.origin + ": unknown key '" + leaf.path + "'",
          near.empty() ? "no key is named like this; 'lockstep train --help' says where all keys are listed"
                       : "did you mean '" + near + "'?"};
}

/// First what other programs call so, then a sibling spelled alike, then a key of that name elsewhere, then
/// any path spelled alike.
std::string KnownKeys::nearest_key(const std::string& path) const {
  const std::string parent = parent_of(path);
  const std::string last = last_of(path);
  if (const auto found = elsewhere_.find(last); found != elsewhere_.end()) return found->second;
  std::vector<std::string> siblings;
  std::vector<std::string> namesakes;
  std::vector<std::string> all;
  for (const auto& [key, known] : keys_) {
    if (parent_of(key) == parent) siblings.push_back(last_of(key));
    if (last_of(key) == last) namesakes.push_back(key);
    all.push_back(key);
  }
  if (const std::string near = nearest(last, siblings); !near.empty()) return parent + "." + near;
  if (const std::string near = nearest(path, namesakes); !near.empty()) return near;
  if (const std::string near = nearest(path, all); !near.empty()) return near;
  return namesakes.empty() ? "" : namesakes.front();
}

}  // namespace lockstep
