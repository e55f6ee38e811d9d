#include "comm/named.h"

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::comm {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> items;
  for (std::size_t at = 0;;) {
    const std::size_t end = text.find(',', at);
    items.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return items;
    at = end + 1;
  }
}

}  // namespace

NamedPart named_part(std::string_view kind, const std::string& text) {
  const std::size_t colon = text.find(':');
  NamedPart part{text.substr(0, colon), {}};
  if (colon == std::string::npos) return part;
  for (const std::string& item : split(text.substr(colon + 1))) {
    const std::size_t equal = item.find('=');
    if (equal == std::string::npos) {
      throw Error(Fault::config, fmt::format("{} '{}' has a setting without a value", kind, text),
                  "write name:key=value");
    }
    part.settings.emplace_back(item.substr(0, equal), item.substr(equal + 1));
  }
  return part;
}

std::vector<std::string> split_parts(const std::string& list) {
  std::vector<std::string> parts;
  for (const std::string& item : split(list)) {
    const std::size_t equal = item.find('=');
    const bool setting = equal != std::string::npos && item.find(':') > equal;
    if (setting && !parts.empty()) {
      parts.back() += "," + item;
    } else {
      parts.push_back(item);
    }
  }
  return parts;
}

}  // namespace lockstep::comm
