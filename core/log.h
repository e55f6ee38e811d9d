// The program's log: spdlog with the rank in each line. Rank 0 logs to the terminal, every rank to its own
// file when one is given. Libraries log rarely; they throw when something is wrong.
#pragma once

#include <string>
#include <utility>

#include <spdlog/fmt/fmt.h>

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

enum class Level { debug, info, warn, error };

/// Logs one line as it is.
void line(Level level, const std::string& text);

// Each formats its words as fmt::format does, whether or not the line is kept. Formatted by spdlog, each file
// that logs would compile all of fmt again, in seconds.
template <class... Values>
void debug(fmt::format_string<Values...> format, Values&&... values) {
  line(Level::debug, fmt::format(format, std::forward<Values>(values)...));
}
template <class... Values>
void info(fmt::format_string<Values...> format, Values&&... values) {
  line(Level::info, fmt::format(format, std::forward<Values>(values)...));
}
template <class... Values>
void warn(fmt::format_string<Values...> format, Values&&... values) {
  line(Level::warn, fmt::format(format, std::forward<Values>(values)...));
}
template <class... Values>
void error(fmt::format_string<Values...> format, Values&&... values) {
  line(Level::error, fmt::format(format, std::forward<Values>(values)...));
}

}  // namespace lockstep::log
