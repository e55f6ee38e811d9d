// The program's log: spdlog with the rank in each line. Rank 0 logs to the terminal, every rank to its own
// file when one is given. Libraries log rarely; they throw when something is wrong.
#pragma once

#include <string>

#include <spdlog/spdlog.h>

namespace lockstep::log {

struct LogOptions {
  int rank = 0;
  std::string file = {};  ///< empty: no file
  bool terminal = true;   ///< lines also go to stderr (rank 0 only)
  std::string level = "info";
};

/// Replaces the process-wide logger. Until called, lines of level warn and above go to stderr.
/// Throws Fault::config for an unknown level or a file that cannot be opened (it appends; folders are made).
void configure(const LogOptions& options);

/// Installs the logger used until configure() is called; returns true. Runs before any line can be logged.
bool use_default_logger();
inline const bool kDefaultLogger = use_default_logger();

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace lockstep::log
