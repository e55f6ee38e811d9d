// A schedule by a text that may carry settings.
#include <spdlog/fmt/fmt.h>

#include <string>
#include <utility>

#include "comm/allreduce/schedule.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

/// "double_tree:segment=4096,other=1" -> name and settings.
std::pair<std::string, std::vector<std::pair<std::string, std::string>>> name_and_settings(
    const std::string& text) {
  const auto colon = text.find(':');
  std::pair<std::string, std::vector<std::pair<std::string, std::string>>> parts{text.substr(0, colon), {}};
  for (std::size_t at = colon; at != std::string::npos;) {
    const auto end = text.find(',', at + 1);
    const std::string item = text.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    const auto equal = item.find('=');
    if (equal == std::string::npos) {
      throw Error(Fault::config, fmt::format("schedule '{}' has a setting without a value", text),
                  "write name:key=value");
    }
    parts.second.emplace_back(item.substr(0, equal), item.substr(equal + 1));
    at = end;
  }
  return parts;
}

}  // namespace

std::unique_ptr<Schedule> schedule_called(const std::string& text) {
  const auto [name, settings] = name_and_settings(text);
  const auto& row = schedules().row(name);
  return schedules().create(name, Options::of(row.settings, settings));
}

}  // namespace lockstep::comm
