// All keys that a schema allows, by full path: for looking up what a config says and for naming the nearest
// valid key. Private to core's config files.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/yaml_text.h"

namespace lockstep {

/// What a full path means. `setting` is null for `kind.name`; `row` is set for keys of one part.
struct KnownKey {
  const Setting* setting = nullptr;
  const KindSchema* kind = nullptr;
  const RowSchema* row = nullptr;
};

class KnownKeys {
 public:
  /// Keeps pointers into `schema`.
  explicit KnownKeys(const Schema& schema);

  /// The key that a leaf of a config sets: its path, or `kind.name` for the short form `kind: name`, or empty
  /// for a section left empty. Throws Fault::config, with the nearest valid key, when there is none.
  [[nodiscard]] std::string key_of(const YamlLeaf& leaf) const;
  /// Throws Fault::config when the value does not fit the key.
  void check(const std::string& key, const Given& given) const;
  [[nodiscard]] const KnownKey& at(const std::string& key) const { return keys_.at(key); }

 private:
  void add(const std::string& key, KnownKey known);
  [[nodiscard]] Error unknown(const YamlLeaf& leaf) const;
  [[nodiscard]] std::string nearest_key(const std::string& path) const;

  std::map<std::string, KnownKey, std::less<>> keys_;
  std::map<std::string, std::string, std::less<>> elsewhere_;
  std::set<std::string, std::less<>> scopes_;  ///< every proper prefix of a key, and every part
};

}  // namespace lockstep
