// Settings: declared in constexpr tables, given in YAML or by --set, read through typed scopes.
//
// A part is chosen by `kind.name` and set by `kind.<name>.*`; plain sections have fixed keys. Every key is
// declared with its type, its fallback and its meaning, so an unknown key, a wrong type or a bad choice is
// refused before any rank starts work, naming file, line, key and the nearest valid key. Keys of parts that
// are not selected are noted, not refused.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace lockstep {

enum class SettingType { boolean, integer, real, text, integers, reals, texts };

/// One declared key.
struct Setting {
  std::string_view key;  ///< within its section: "momentum"
  SettingType type;
  const char* fallback;      ///< YAML text of the default; nullptr: must be given; "" for text means empty
  std::string_view meaning;  ///< one line for --help and docs, with the unit
  std::string_view choices = {};  ///< for text: "a|b|c"; for numbers: a range "[0,1]", "(0,inf)"; empty: any
};

/// A value with where it came from ("quickstart.yaml:12", "--set", "default").
struct Given {
  std::string value;  ///< YAML text
  std::string origin;
};

/// Typed reads of one section. Cheap to copy.
class Options {
 public:
  Options() = default;
  Options(std::string path, std::span<const Setting> settings,
          std::map<std::string, Given, std::less<>> given);
  /// For tests, defaults in code and command lines: `given` maps keys to YAML text. Checked as a file would
  /// be; `origin` says in errors where it comes from.
  static Options of(std::span<const Setting> settings,
                    const std::vector<std::pair<std::string, std::string>>& given = {},
                    const std::string& origin = "given in code");

  /// Each throws Fault::internal for a key that is not declared with that type, and Fault::config for a
  /// missing one.
  [[nodiscard]] bool boolean(std::string_view key) const;
  [[nodiscard]] std::int64_t integer(std::string_view key) const;
  [[nodiscard]] double real(std::string_view key) const;
  [[nodiscard]] std::string text(std::string_view key) const;
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view key) const;
  [[nodiscard]] std::vector<double> reals(std::string_view key) const;
  [[nodiscard]] std::vector<std::string> texts(std::string_view key) const;

  /// True when the user gave the key, also with the value of the fallback. A saved, resolved config remembers
  /// what nobody gave by its `# default` comments.
  [[nodiscard]] bool given(std::string_view key) const;
  /// "momentum=0.9,nesterov=true": what the user gave, as Options::of() would take it.
  [[nodiscard]] std::string given_text() const;
  /// "optimizer.sgd.momentum (quickstart.yaml:12)": how to name a key in an error.
  [[nodiscard]] std::string where(std::string_view key) const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  [[nodiscard]] std::string value(std::string_view key, SettingType type) const;
  std::string path_;
  std::span<const Setting> settings_;
  std::map<std::string, Given, std::less<>> given_;
};

struct RowSchema {
  std::string_view name;
  std::string_view summary;
  std::span<const Setting> settings;
};
/// A kind with its rows; `fallback` is the name used when `kind.name` is not given (empty: must be given).
struct KindSchema {
  std::string kind;
  std::string fallback;
  std::vector<RowSchema> rows;
};
/// A section with fixed keys.
struct SectionSchema {
  std::string path;
  std::span<const Setting> settings;
};
/// Everything a config may say.
struct Schema {
  std::vector<SectionSchema> sections;
  std::vector<KindSchema> kinds;
  /// What a key is called elsewhere, for the error that names the nearest key: "lr" -> "rate.peak".
  std::vector<std::pair<std::string_view, std::string_view>> known_elsewhere = {};
};

/// A checked configuration. The default-made one is empty.
class Config {
 public:
  /// Reads `file` and applies `overrides` ("a.b=c", later wins). Throws Fault::config as described above.
  static Config load(const std::string& file, const std::vector<std::string>& overrides, Schema schema);
  /// The same from text; `origin` names it in messages.
  static Config parse(const std::string& yaml, const std::string& origin,
                      const std::vector<std::string>& overrides, Schema schema);

  [[nodiscard]] Options section(std::string_view path) const;
  /// The selected name of a kind, and its scope.
  [[nodiscard]] std::string part_name(std::string_view kind) const;
  [[nodiscard]] Options part(std::string_view kind) const;
  /// Scope of a named row, selected or not.
  [[nodiscard]] Options part(std::string_view kind, std::string_view name) const;

  /// Every key in force with its value, and its origin as a comment; parses back to the same config.
  [[nodiscard]] std::string resolved() const;
  /// Sentences about keys given for parts that are not selected.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// "train.steps 15, now 30": the keys that are in force in both, with another value in `before`.
  [[nodiscard]] std::vector<std::string> changes_since(const Config& before) const;
  /// Hash of the resolved values without origins: equal runs have equal fingerprints.
  [[nodiscard]] std::uint64_t fingerprint() const;

 private:
  /// A key in force.
  struct Line {
    std::string key;
    SettingType type;
    Given given;
  };
  [[nodiscard]] std::vector<Line> in_force() const;
  [[nodiscard]] std::map<std::string, std::string> values() const;
  void require_all(const std::string& origin) const;

  Schema schema_;
  std::map<std::string, Given, std::less<>> given_;  ///< full path -> value
  std::vector<std::string> notes_;
};

/// Errors that registries throw.
[[nodiscard]] Error unknown_name(std::string_view kind, std::string_view name,
                                 const std::vector<std::string>& known);
[[nodiscard]] Error not_built(std::string_view kind, std::string_view name);

}  // namespace lockstep
