#include "trainer/programs/config_file.h"

#include <cstdio>

#include "trainer/schema.h"

namespace lockstep::programs {

namespace {

// The long names of an option: one in cxxopts 3.0, a list since 3.1.
void add_names(const std::string& name, std::vector<std::string>& all) { all.push_back("--" + name); }
void add_names(const std::vector<std::string>& names, std::vector<std::string>& all) {
  for (const std::string& name : names) add_names(name, all);
}

/// Refuses a word that is no option and has no place: forgotten --set, misspelt option.
void refuse_left_over(const cxxopts::Options& options, const std::string& word) {
  if (!word.starts_with('-')) {
    throw Error(
        Fault::config, "'" + word + "' has no place in `" + options.program() + "`",
        "config keys are set with --set KEY=VALUE; `" + options.program() + " --help` lists the options");
  }
  std::vector<std::string> known;
  for (const std::string& group : options.groups())
    for (const auto& option : options.group_help(group).options) add_names(option.l, known);
  const std::string name = word.substr(0, word.find('='));
  const std::string meant = nearest(name, known);
  throw Error(Fault::config, "`" + options.program() + "` has no option '" + name + "'",
              (meant.empty() ? "" : "did you mean " + meant + "? ") + "`" + options.program() +
                  " --help` lists the options");
}

}  // namespace

std::optional<cxxopts::ParseResult> parse_words(cxxopts::Options options, const Context& context) {
  options.allow_unrecognised_options();  // to name the nearest one
  try {
    cxxopts::ParseResult words = options.parse(context.argc(), context.argv());
    if (words.count("help") == 0) {
      if (!words.unmatched().empty()) refuse_left_over(options, words.unmatched().front());
      return words;
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Fault::config, error.what(), "`" + options.program() + " --help` lists the options");
  }
  std::printf("%s", options.help().c_str());
  return std::nullopt;
}

std::string required_word(const cxxopts::ParseResult& words, const std::string& name) {
  if (words.count(name) == 0)
    throw Error(Fault::config, "--" + name + " is missing", "--help lists the options");
  return words[name].as<std::string>();
}

Config load_config(const cxxopts::ParseResult& words) {
  if (words.count("config") == 0)
    throw Error(Fault::config, "no config file was named", "start with configs/quickstart.yaml");
  std::vector<std::string> overrides;
  if (words.count("set") > 0) overrides = words["set"].as<std::vector<std::string>>();
  return Config::load(words["config"].as<std::string>(), overrides, trainer::config_schema());
}

}  // namespace lockstep::programs
