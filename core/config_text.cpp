// The resolved config as YAML: sections in the order of the schema, one key a line, its origin as a comment.
#include <utility>

#include "core/options.h"

namespace lockstep {
namespace {

/// A key with keys below it, or with a value.
struct Branch {
  std::string name;
  Given given;
  std::vector<Branch> below;
};

Branch& child(Branch& branch, const std::string& name) {
  for (Branch& each : branch.below) {
    if (each.name == name) return each;
  }
  return branch.below.emplace_back(Branch{name, {}, {}});
}

void plant(Branch& root, std::string_view path, const Given& given) {
  Branch* at = &root;
  while (true) {
    const std::size_t dot = path.find('.');
    at = &child(*at, std::string(path.substr(0, dot)));
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  at->given = given;
}

void print(const Branch& branch, std::size_t depth, std::string& text) {
  for (const Branch& each : branch.below) {
    text += std::string(2 * depth, ' ') + each.name + ":";
    if (each.below.empty()) {
      text += " " + each.given.value + "  # " + each.given.origin + "\n";
    } else {
      text += "\n";
      print(each, depth + 1, text);
    }
  }
}

}  // namespace

std::string Config::resolved() const {
  Branch root;
  for (const Line& line : in_force()) plant(root, line.key, line.given);
  std::string text;
  print(root, 0, text);
  return text;
}

}  // namespace lockstep
