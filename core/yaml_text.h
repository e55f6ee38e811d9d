// YAML as the config needs it: dotted paths with scalars or flat lists, each with the line it came from.
// Private to core's config files; yaml-cpp stays behind it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

/// A scalar as written. Quoted ones are text, whatever they look like.
struct YamlScalar {
  std::string text;
  bool quoted = false;
  [[nodiscard]] bool is_null() const noexcept;
};

enum class YamlForm { null, scalar, list, map };

struct YamlValue {
  YamlForm form = YamlForm::null;
  std::vector<YamlScalar> items;  ///< one for a scalar, the elements of a list
};

/// A value at the end of a path. Form `map` means an empty map.
struct YamlLeaf {
  std::string path;  ///< "optimizer.sgd.momentum"
  YamlValue value;
  std::string origin;        ///< "quickstart.yaml:12" or "--set"
  std::string comment = {};  ///< of a file: what follows " # " at the end of the line
};

/// YAML text of one scalar or flat list. Throws Fault::config when it is something else.
[[nodiscard]] YamlValue parse_yaml_value(std::string_view text);
/// One line of YAML that parses back to the same value, in a block or in a flow list.
[[nodiscard]] std::string to_text(const YamlScalar& scalar);
[[nodiscard]] std::string to_text(const YamlValue& value);

/// The leaves of a document in file order. Throws Fault::config with the line for bad syntax, tabs in the
/// indentation, repeated keys, several documents, and lists that hold more than scalars.
[[nodiscard]] std::vector<YamlLeaf> yaml_leaves(const std::string& yaml, const std::string& origin);
/// The leaves of one "a.b=value"; an empty value is empty text. Throws Fault::config for anything else.
[[nodiscard]] std::vector<YamlLeaf> override_leaves(const std::string& assignment);

}  // namespace lockstep
