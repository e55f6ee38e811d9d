// A config: the keys given by file and --set, checked against the schema, and the scopes that read them.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/config_keys.h"
#include "core/hash.h"
#include "core/options.h"
#include "core/random.h"
#include "core/setting_value.h"
#include "core/yaml_text.h"

namespace lockstep {
namespace {

using GivenMap = std::map<std::string, Given, std::less<>>;

std::string read_file(const std::string& file) {
  const auto refuse = [&file](const std::string& reason) {
    return Error(Fault::config, "cannot read the config '" + file + "': " + reason,
                 "ready recipes are in configs/");
  };
  std::error_code unknown;  // opening it tells
  if (std::filesystem::is_directory(file, unknown)) throw refuse("it is a folder");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream.is_open()) throw refuse(std::strerror(errno));
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (stream.bad()) throw refuse(std::strerror(errno));
  if (text.find('\0') != std::string::npos) throw refuse("it is no text");
  return text;
}

/// The given values of one section, by their keys within it.
GivenMap given_below(const GivenMap& given, const std::string& path, std::span<const Setting> settings) {
  GivenMap below;
  for (const Setting& setting : settings) {
    const auto found = given.find(path + "." + std::string(setting.key));
    if (found != given.end()) below.emplace(setting.key, found->second);
  }
  return below;
}

void apply_file(const std::vector<YamlLeaf>& leaves, const KnownKeys& known, GivenMap& given) {
  for (const YamlLeaf& leaf : leaves) {
    const std::string key = known.key_of(leaf);
    if (key.empty()) continue;
    const auto [place, inserted] = given.emplace(key, Given{to_text(leaf.value), leaf.origin});
    if (!inserted) {
      throw Error(Fault::config,
                  leaf.origin + ": key '" + key + "' is given twice, first at " + place->second.origin,
                  "keep one of the two");
    }
    known.check(key, place->second);
    if (leaf.comment == kDefaultOrigin) place->second.origin = kDefaultOrigin;
  }
}

void apply_overrides(const std::vector<std::string>& overrides, const KnownKeys& known, GivenMap& given) {
  for (const std::string& assignment : overrides) {
    for (const YamlLeaf& leaf : override_leaves(assignment)) {
      const std::string key = known.key_of(leaf);
      if (key.empty()) continue;
      given[key] = {to_text(leaf.value), leaf.origin};
      known.check(key, given[key]);
    }
  }
}

/// Every setting of a section that has no fallback must be given.
void require_given(const std::string& path, std::span<const Setting> settings, const GivenMap& given,
                   const std::string& origin) {
  for (const Setting& setting : settings) {
    const std::string key = path + "." + std::string(setting.key);
    if (setting.fallback == nullptr && !given.contains(key)) {
      throw Error(Fault::config, origin + ": '" + key + "' must be given",
                  std::string(setting.meaning) + " (" + type_words(setting.type) + ")");
    }
  }
}

const KindSchema& kind_of(const Schema& schema, std::string_view kind) {
  for (const KindSchema& each : schema.kinds) {
    if (each.kind == kind) return each;
  }
  throw Error(Fault::internal, "the config schema has no kind '" + std::string(kind) + "'");
}

const RowSchema& row_of(const KindSchema& kind, std::string_view name) {
  std::vector<std::string> names;
  for (const RowSchema& row : kind.rows) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  throw unknown_name(kind.kind, name, names);
}

std::string scope_of(const KindSchema& kind, std::string_view name) {
  return kind.kind + "." + std::string(name);
}

}  // namespace

Config Config::load(const std::string& file, const std::vector<std::string>& overrides, Schema schema) {
  return parse(read_file(file), file, overrides, std::move(schema));
}

Config Config::parse(const std::string& yaml, const std::string& origin,
                     const std::vector<std::string>& overrides, Schema schema) {
  Config config;
  config.schema_ = std::move(schema);
  const KnownKeys known(config.schema_);
  apply_file(yaml_leaves(yaml, origin), known, config.given_);
  apply_overrides(overrides, known, config.given_);
  config.require_all(origin);
  for (const auto& [key, given] : config.given_) {
    const KnownKey& meaning = known.at(key);
    if (meaning.row == nullptr || given.origin == kDefaultOrigin) continue;
    const std::string selected = config.part_name(meaning.kind->kind);
    if (selected == meaning.row->name) continue;
    config.notes_.push_back(given.origin + ": '" + key + "' has no effect: the " + meaning.kind->kind +
                            " in use is '" + selected + "'");
  }
  return config;
}

void Config::require_all(const std::string& origin) const {
  for (const SectionSchema& section : schema_.sections)
    require_given(section.path, section.settings, given_, origin);
  for (const KindSchema& kind : schema_.kinds) {
    const std::string key = kind.kind + ".name";
    if (kind.fallback.empty() && !given_.contains(key)) {
      std::string names;
      for (const RowSchema& row : kind.rows) names += (names.empty() ? "" : ", ") + std::string(row.name);
      throw Error(Fault::config, origin + ": no " + kind.kind + " is chosen: '" + key + "' must be given",
                  "choose one of " + names);
    }
    const std::string name = part_name(kind.kind);
    require_given(scope_of(kind, name), row_of(kind, name).settings, given_, origin);
  }
}

Options Config::section(std::string_view path) const {
  for (const SectionSchema& each : schema_.sections) {
    if (each.path == path) return {each.path, each.settings, given_below(given_, each.path, each.settings)};
  }
  throw Error(Fault::internal, "the config schema has no section '" + std::string(path) + "'");
}

std::string Config::part_name(std::string_view kind) const {
  const auto found = given_.find(std::string(kind) + ".name");
  return found == given_.end() ? kind_of(schema_, kind).fallback
                               : read_text(found->second.value).value_or("");
}

Options Config::part(std::string_view kind) const { return part(kind, part_name(kind)); }

Options Config::part(std::string_view kind, std::string_view name) const {
  const KindSchema& schema = kind_of(schema_, kind);
  const RowSchema& row = row_of(schema, name);
  const std::string scope = scope_of(schema, name);
  return {scope, row.settings, given_below(given_, scope, row.settings)};
}

std::vector<Config::Line> Config::in_force() const {
  std::vector<Line> lines;
  const auto add = [&](const std::string& scope, const Setting& setting) {
    const std::string key = scope + "." + std::string(setting.key);
    const auto found = given_.find(key);
    lines.push_back({key, setting.type,
                     found == given_.end() ? Given{fallback_text(setting), kDefaultOrigin} : found->second});
  };
  for (const SectionSchema& section : schema_.sections) {
    for (const Setting& setting : section.settings) add(section.path, setting);
  }
  for (const KindSchema& kind : schema_.kinds) {
    const std::string name = part_name(kind.kind);
    add(kind.kind, {"name", SettingType::text, name.c_str(), ""});
    for (const Setting& setting : row_of(kind, name).settings) add(scope_of(kind, name), setting);
  }
  return lines;
}

std::map<std::string, std::string> Config::values() const {
  std::map<std::string, std::string> all;
  for (const Line& line : in_force()) all[line.key] = canonical_text(line.type, line.given.value);
  return all;
}

std::vector<std::string> Config::changes_since(const Config& before) const {
  std::map<std::string, Line> old;
  for (const Line& line : before.in_force()) old.emplace(line.key, line);
  std::vector<std::string> changes;
  for (const Line& line : in_force()) {
    const auto found = old.find(line.key);
    if (found == old.end()) continue;
    const std::string& was = found->second.given.value;
    if (canonical_text(line.type, was) != canonical_text(line.type, line.given.value))
      changes.push_back(line.key + " " + was + ", now " + line.given.value);
  }
  return changes;
}

std::uint64_t Config::fingerprint() const {
  std::string text;
  for (const auto& [key, value] : values()) text += key + "=" + value + "\n";
  return name_hash(text);
}

}  // namespace lockstep
