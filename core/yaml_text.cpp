#include "core/yaml_text.h"

#include <algorithm>
#include <set>
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "core/error.h"

namespace lockstep {
namespace {

/// Nobody nests settings deeper; the bound also ends an anchor that contains itself.
constexpr int kDeepest = 16;

constexpr const char* kSyntaxHint = "see docs/architecture.md for what a config looks like";

/// Where a document comes from: with its lines for files, without for --set.
struct Source {
  std::string origin;
  std::vector<std::string> lines = {};

  [[nodiscard]] std::string at(const YAML::Mark& mark) const {
    return !lines.empty() && !mark.is_null() ? origin + ":" + std::to_string(mark.line + 1) : origin;
  }
  [[nodiscard]] std::string comment(const YAML::Mark& mark) const {
    const auto number = static_cast<std::size_t>(mark.line);
    if (mark.is_null() || number >= lines.size()) return "";
    const std::size_t start = lines[number].rfind(" # ");
    return start == std::string::npos ? "" : lines[number].substr(start + 3);
  }
};

Error syntax(const std::string& where, const std::string& what, const std::string& hint = kSyntaxHint) {
  return {Fault::config, where + ": " + what, hint};
}

YamlScalar scalar_of(const YAML::Node& node) {
  if (node.IsNull()) return {"~", false};
  const bool quoted = node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str";
  return {node.Scalar(), quoted};
}

YamlValue value_of(const YAML::Node& node, const std::string& where) {
  if (node.IsNull()) return {};
  if (node.IsScalar()) return {YamlForm::scalar, {scalar_of(node)}};
  if (node.IsMap()) return {YamlForm::map, {}};
  YamlValue value{YamlForm::list, {}};
  for (const YAML::Node& element : node) {
    if (!element.IsScalar() && !element.IsNull()) throw syntax(where, "a list may hold plain values only");
    value.items.push_back(scalar_of(element));
  }
  return value;
}

void flatten(const YAML::Node& node, const YamlLeaf& above, const Source& source, int depth,
             std::vector<YamlLeaf>& leaves) {
  if (!node.IsMap() || node.size() == 0) {
    leaves.push_back({above.path, value_of(node, above.origin), above.origin, above.comment});
    return;
  }
  if (depth > kDeepest) throw syntax(above.origin, "'" + above.path + "' is nested too deeply");
  std::set<std::string> seen;
  for (const auto& pair : node) {
    const std::string where = source.at(pair.first.Mark());
    if (!pair.first.IsScalar() || pair.first.Scalar().empty()) throw syntax(where, "a key must be a word");
    const std::string path = (above.path.empty() ? "" : above.path + ".") + pair.first.Scalar();
    if (!seen.insert(path).second) {
      throw syntax(where, "key '" + path + "' is given twice", "keep one of the two");
    }
    flatten(pair.second, {path, {}, where, source.comment(pair.first.Mark())}, source, depth + 1, leaves);
  }
}

std::vector<std::string> lines_of(const std::string& yaml) {
  std::istringstream stream(yaml);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// YAML forbids tabs in the indentation; parsers report them in words that help nobody.
void refuse_tabs(const std::vector<std::string>& lines, const std::string& origin) {
  for (std::size_t number = 1; number <= lines.size(); ++number) {
    const std::string& line = lines[number - 1];
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    if (line.find('\t') < first) {
      throw syntax(origin + ":" + std::to_string(number), "a tab in the indentation", "indent with spaces");
    }
  }
}

/// Hears where the content of a document begins, and keeps nothing of it.
class Listener final : public YAML::EventHandler {
 public:
  using Mark = YAML::Mark;
  [[nodiscard]] const Mark& start() const noexcept { return start_; }
  void OnDocumentStart(const Mark& mark) override { start_ = mark, empty_ = true; }
  void OnDocumentEnd() override {}
  void OnNull(const Mark& mark, YAML::anchor_t) override { note(mark); }
  void OnAlias(const Mark& mark, YAML::anchor_t) override { note(mark); }
  void OnScalar(const Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override {
    note(mark);
  }
  void OnSequenceStart(const Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    note(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    note(mark);
  }
  void OnMapEnd() override {}

 private:
  void note(const Mark& mark) {
    if (empty_) start_ = mark;
    empty_ = false;
  }
  Mark start_;
  bool empty_ = true;
};

/// Refuses what follows the first document. YAML::LoadAll() would do, but at a comma outside of lists it
/// finds documents without end.
void refuse_second_document(const std::string& yaml, const Source& source) {
  std::istringstream stream(yaml);
  YAML::Parser parser(stream);
  Listener listener;
  if (!parser.HandleNextDocument(listener) || !parser.HandleNextDocument(listener)) return;
  const auto at = static_cast<std::size_t>(std::max(listener.start().pos, 0));
  if (at < yaml.size() && yaml[at] == ',')
    throw syntax(source.at(listener.start()), "a comma outside of a list", "put quotes around it");
  throw syntax(source.at(listener.start()), "more than one YAML document");
}

YAML::Node load_one(const std::string& yaml, const Source& source) {
  try {
    refuse_second_document(yaml, source);
    return YAML::Load(yaml);
  } catch (const YAML::Exception& failure) {
    throw syntax(source.at(failure.mark), "not valid YAML: " + failure.msg,
                 !source.lines.empty() ? kSyntaxHint
                                       : "put quotes around text that holds any of : { } [ ] , # & * ? |");
  }
}

std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += std::string("\\") + c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += std::string("\\x") + "0123456789abcdef"[byte >> 4] + "0123456789abcdef"[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace

bool YamlScalar::is_null() const noexcept {
  return !quoted && (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL");
}

YamlValue parse_yaml_value(std::string_view text) {
  const Source source{"the value '" + std::string(text) + "'"};
  return value_of(load_one(std::string(text), source), source.origin);
}

std::string to_text(const YamlScalar& scalar) {
  // Numbers, booleans and null hold none of these, so quoting never changes what a plain scalar means.
  const bool special = scalar.text.find_first_of(",[]{}#:&*!|>'\"%@`\\ \t\n") != std::string::npos;
  return scalar.quoted || special ? quote(scalar.text) : scalar.text;
}

std::string to_text(const YamlValue& value) {
  if (value.form == YamlForm::null) return "~";
  if (value.form == YamlForm::map) return "{}";
  if (value.form == YamlForm::scalar) return to_text(value.items.front());
  std::string list;
  for (const YamlScalar& item : value.items) list += (list.empty() ? "" : ", ") + to_text(item);
  return "[" + list + "]";
}

std::vector<YamlLeaf> yaml_leaves(const std::string& yaml, const std::string& origin) {
  const Source source{origin, lines_of(yaml)};
  refuse_tabs(source.lines, origin);
  const YAML::Node root = load_one(yaml, source);
  std::vector<YamlLeaf> leaves;
  if (root.IsNull() || (root.IsMap() && root.size() == 0)) return leaves;
  if (!root.IsMap()) throw syntax(source.at(root.Mark()), "a config is a map of keys to values");
  flatten(root, {"", {}, origin, ""}, source, 0, leaves);
  return leaves;
}

std::vector<YamlLeaf> override_leaves(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(Fault::config, "--set '" + assignment + "' does not say key=value",
                "for example --set train.steps=100");
  }
  const std::string path = assignment.substr(0, equals);
  const std::string value = assignment.substr(equals + 1);
  if (value.empty()) return {{path, {YamlForm::scalar, {{"", true}}}, "--set", ""}};
  const YAML::Node node = load_one(value, {"--set " + path});
  std::vector<YamlLeaf> leaves;
  flatten(node, {path, {}, "--set", ""}, {"--set"}, 0, leaves);
  return leaves;
}

}  // namespace lockstep
