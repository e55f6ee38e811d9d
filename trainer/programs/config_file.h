// What every command that takes a config does with its words.
#pragma once

#include <cxxopts.hpp>
#include <optional>

#include "core/options.h"
#include "trainer/programs/command.h"

namespace lockstep::programs {

/// Parses the words. Empty when --help was asked for (then it is printed). Throws Fault::config for words
/// that do not fit.
[[nodiscard]] std::optional<cxxopts::ParseResult> parse_words(cxxopts::Options options,
                                                              const Context& context);

/// The text of an option that has no default. Throws Fault::config when it is missing.
[[nodiscard]] std::string required_word(const cxxopts::ParseResult& words, const std::string& name);

/// The config named by the option "config" with the overrides of "set". Throws Fault::config when none was
/// named.
[[nodiscard]] Config load_config(const cxxopts::ParseResult& words);

}  // namespace lockstep::programs
