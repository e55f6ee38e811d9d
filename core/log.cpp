#include "core/log.h"

#include <memory>
#include <vector>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "core/error.h"

namespace lockstep::log {
namespace {

constexpr const char* kName = "lockstep";

spdlog::level::level_enum level_named(const std::string& name) {
  const std::vector<std::string> names = {"trace", "debug", "info", "warn", "error", "off"};
  for (const std::string& known : names) {
    if (name == known) return spdlog::level::from_str(name);
  }
  throw Error(Fault::config, "unknown log level '" + name + "'", did_you_mean(name, names));
}

spdlog::sink_ptr open_file(const std::string& file) {
  try {
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
  } catch (const spdlog::spdlog_ex& failure) {
    throw Error(Fault::config, "cannot open the log file '" + file + "': " + failure.what(),
                "choose a run directory that you may write to");
  }
}

}  // namespace

bool use_default_logger() {
  auto logger =
      std::make_shared<spdlog::logger>(kName, std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%H:%M:%S [%^%l%$] %v");
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
  return true;
}

void configure(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  const auto level = level_named(options.level);
  if (options.terminal && options.rank == 0) {
    sinks.push_back(std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  }
  if (!options.file.empty()) sinks.push_back(open_file(options.file));
  auto logger = std::make_shared<spdlog::logger>(kName, sinks.begin(), sinks.end());
  logger->set_pattern("%H:%M:%S [%^%l%$] r" + std::to_string(options.rank) + ": %v");
  logger->set_level(level);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void line(Level level, const std::string& text) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  spdlog::log(kLevels[static_cast<int>(level)], spdlog::string_view_t(text));
}

}  // namespace lockstep::log
