#include "trainer/programs/config_file.h"

#include <cstdio>

#include "trainer/schema.h"

namespace lockstep::programs {

std::optional<cxxopts::ParseResult> parse_words(cxxopts::Options options, const Context& context) {
  try {
    cxxopts::ParseResult words = options.parse(context.argc(), context.argv());
    if (words.count("help") == 0) return words;
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
