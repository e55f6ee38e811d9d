// lockstep data import|generate|info ...
#include <algorithm>
#include <cstdio>

#include "core/setting_value.h"
#include "data/info.h"
#include "data/tools.h"
#include "trainer/programs/command.h"

namespace lockstep::programs {

namespace {

std::string option_of(std::string_view key) {
  std::string option = "--" + std::string(key);
  for (char& c : option) c = c == '_' ? '-' : c;
  return option;
}

void print_data_tools() {
  std::printf("usage: lockstep data import NAME --output FILE.h5 ...    turn files into a data set\n");
  for (const data::DataTool& tool : data::importers()) {
    std::printf("         %-10s %s\n", std::string(tool.name).c_str(), std::string(tool.summary).c_str());
  }
  std::printf("       lockstep data generate NAME --output FILE.h5 ...  make one up\n");
  for (const data::DataTool& tool : data::generators()) {
    std::printf("         %-10s %s\n", std::string(tool.name).c_str(), std::string(tool.summary).c_str());
  }
  std::printf("       lockstep data info FILE...                        say what is in HDF5 files\n");
  std::printf("\n`lockstep data import NAME --help` lists the options of one of them.\n");
}

void print_tool(const std::string& verb, const data::DataTool& tool) {
  std::printf("usage: lockstep data %s %s [options]\n%s\n\n", verb.c_str(), std::string(tool.name).c_str(),
              std::string(tool.summary).c_str());
  for (const Setting& setting : tool.settings) {
    const std::string fallback =
        setting.fallback == nullptr
            ? "must be given"
            : std::string("default ") + (*setting.fallback ? setting.fallback : "none");
    std::string choices = setting.choices.empty() ? "" : std::string(setting.choices) + "; ";
    if (is_list(setting.type)) choices = "one, or a list '[a, b]'; " + choices;
    std::printf("  %-22s %s (%s%s)\n", option_of(setting.key).c_str(), std::string(setting.meaning).c_str(),
                choices.c_str(), fallback.c_str());
  }
}

/// The setting that an option such as "--test-images" means. Throws naming the nearest one.
const Setting& setting_of(const data::DataTool& tool, const std::string& option) {
  std::vector<std::string> known;
  for (const Setting& setting : tool.settings) {
    if (option_of(setting.key) == option) return setting;
    known.push_back(option_of(setting.key));
  }
  const std::string meant = nearest(option, known);
  throw Error(Fault::config, "'" + std::string(tool.name) + "' has no option '" + option + "'",
              meant.empty() ? "--help lists the options" : "did you mean " + meant + "?");
}

/// Refuses to start without what must be given.
void expect_complete(const data::DataTool& tool,
                     const std::vector<std::pair<std::string, std::string>>& given) {
  for (const Setting& setting : tool.settings) {
    const auto is_it = [&](const auto& pair) { return pair.first == setting.key; };
    if (setting.fallback != nullptr || std::ranges::any_of(given, is_it)) continue;
    throw Error(Fault::config, "'" + std::string(tool.name) + "' needs " + option_of(setting.key),
                std::string(setting.meaning));
  }
}

/// "--key value" and "--key=value" pairs; a boolean may stand alone.
std::vector<std::pair<std::string, std::string>> pairs_of(const data::DataTool& tool,
                                                          const std::vector<std::string>& words) {
  std::vector<std::pair<std::string, std::string>> given;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    const Setting& setting = setting_of(tool, words[i].substr(0, equals));
    const bool alone = i + 1 == words.size() || words[i + 1].rfind("--", 0) == 0;
    std::string value;
    if (equals != std::string::npos) {
      value = words[i].substr(equals + 1);
    } else if (!alone) {
      value = words[++i];
    } else if (setting.type == SettingType::boolean) {
      value = "true";
    } else {
      throw Error(Fault::config, words[i] + " needs a value", std::string(setting.meaning));
    }
    const auto is_it = [&](const auto& pair) { return pair.first == setting.key; };
    if (std::ranges::any_of(given, is_it))
      throw Error(Fault::config, option_of(setting.key) + " is given twice",
                  is_list(setting.type) ? "write one list: " + option_of(setting.key) + " '[..., ...]'"
                                        : "keep one of the two");
    given.emplace_back(setting.key, value);
  }
  return given;
}

int use_tool(const std::string& verb, const std::vector<std::string>& words) {
  const bool import = verb == "import";
  if (words.empty()) {
    print_data_tools();
    return static_cast<int>(Fault::config);
  }
  const data::DataTool& tool = data::tool_named(import ? data::importers() : data::generators(),
                                                import ? "importer" : "generator", words[0]);
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (!rest.empty() && (rest[0] == "--help" || rest[0] == "-h")) {
    print_tool(verb, tool);
    return 0;
  }
  const auto given = pairs_of(tool, rest);
  expect_complete(tool, given);
  const data::Written written =
      tool.run(Options::of(tool.settings, given, "lockstep data " + verb + " " + words[0]));
  for (const auto& [split, rows] : written.splits)
    std::printf("%-12s %lld %s\n", split.c_str(), static_cast<long long>(rows), written.unit.c_str());
  for (const std::string& file : written.files) std::printf("wrote %s\n", file.c_str());
  return 0;
}

int run_data(Context& context) {
  const std::vector<std::string> words(context.argv() + 1, context.argv() + context.argc());
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    print_data_tools();
    return words.empty() ? static_cast<int>(Fault::config) : 0;
  }
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (!rest.empty() && (rest[0] == "--help" || rest[0] == "-h")) {
    print_data_tools();
    return 0;
  }
  if (!context.works_alone()) return 0;
  if (words[0] == "import" || words[0] == "generate") return use_tool(words[0], rest);
  if (words[0] != "info") throw unknown_name("data command", words[0], {"import", "generate", "info"});
  if (rest.empty()) throw Error(Fault::config, "no file was named", "lockstep data info FILE.h5");
  for (const std::string& file : rest) std::printf("%s", data::describe_file(file).c_str());
  return 0;
}

}  // namespace

const Command kData{"data", "import, generate and describe HDF5 data sets", run_data};

}  // namespace lockstep::programs
