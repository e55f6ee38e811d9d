// The program's log: spdlog with the rank in each line. Rank 0 logs to the terminal, every rank to its own
// file when one is given. Libraries log rarely; they throw when something is wrong.
#pragma once

#include <string>

#include <spdlog/spdlog.h>

namespace lockstep::log {

struct LogOptions {
  int rank = 0;
  std::string file;      ///< empty: no file
  bool terminal = true;  ///< lines also go to stderr (rank 0 only)
  std::string level = "info";
};

/// Replaces the process-wide logger. Until called, lines of level warn and above go to stderr.
void configure(const LogOptions& options);

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace lockstep::log
