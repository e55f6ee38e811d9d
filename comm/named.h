// A part by a text that may carry settings: "double_tree:segment=4096",
// "int8:rounding=stochastic,rotate=true".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/options.h"

namespace lockstep::comm {

struct NamedPart {
  std::string name;
  std::vector<std::pair<std::string, std::string>> settings;
};

/// `kind` names the part in errors. Throws Fault::config for a setting without a value.
[[nodiscard]] NamedPart named_part(std::string_view kind, const std::string& text);

/// The texts of a list that commas separate: "int4:rounding=nearest,rotate=false,bf16" holds two. What has a
/// value but no colon is a setting of the part before it.
[[nodiscard]] std::vector<std::string> split_parts(const std::string& list);

/// Name and settings by the row of `table`. Throws Fault::config for an unknown name or setting.
template <class Table>
[[nodiscard]] std::pair<std::string, Options> part_called(const Table& table, const std::string& text) {
  const NamedPart part = named_part(table.kind(), text);
  return {part.name, Options::of(table.row(part.name).settings, part.settings, "'" + text + "'")};
}

}  // namespace lockstep::comm
