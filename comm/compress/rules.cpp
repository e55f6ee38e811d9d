#include "comm/compress/rules.h"

#include <algorithm>

#include "comm/compress/compressor.h"
#include "core/error.h"

namespace lockstep::comm {

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() == '*') {
    for (std::size_t taken = 0; taken <= name.size(); ++taken) {
      if (matches(pattern.substr(1), name.substr(taken))) return true;
    }
    return false;
  }
  if (name.empty() || (pattern.front() != '?' && pattern.front() != name.front())) return false;
  return matches(pattern.substr(1), name.substr(1));
}

SlotRules::SlotRules(const CompressionOptions& options)
    : fallback_(options.name), min_elements_(options.min_elements) {
  for (const std::string& rule : options.rules) {
    const std::size_t equal = rule.find('=');
    if (equal == std::string::npos || equal == 0) {
      throw Error(Fault::config, "compression rule '" + rule + "' is not a pattern and a compressor",
                  "write for instance \"head.*=none\"");
    }
    const std::string name = rule.substr(equal + 1);
    static_cast<void>(compressors().row(name));
    if (name == "auto") {
      throw Error(Fault::config, "compression rule '" + rule + "' leaves the choice open",
                  "only compress.name may be auto");
    }
    rules_.emplace_back(rule.substr(0, equal), name);
  }
}

bool SlotRules::always_exact(const Slot& slot) const {
  return slot.shape.rank() < 2 || slot.shape.count() < min_elements_;
}

std::string SlotRules::choose(const Slot& slot) const {
  if (always_exact(slot)) return "none";
  for (const auto& [pattern, name] : rules_) {
    if (matches(pattern, slot.name)) return name;
  }
  return fallback_;
}

std::vector<std::string> SlotRules::idle(std::span<const Slot> slots) const {
  std::vector<std::string> found;
  for (const auto& [pattern, name] : rules_) {
    const bool used = std::ranges::any_of(
        slots, [&](const Slot& slot) { return !always_exact(slot) && matches(pattern, slot.name); });
    if (!used) found.push_back(pattern);
  }
  return found;
}

std::vector<std::pair<std::string, std::vector<const Slot*>>> SlotRules::deal(
    std::span<const Slot> slots) const {
  std::vector<std::pair<std::string, std::vector<const Slot*>>> dealt;
  for (const Slot& slot : slots) {
    const std::string name = choose(slot);
    auto found =
        std::find_if(dealt.begin(), dealt.end(), [&](const auto& each) { return each.first == name; });
    if (found == dealt.end()) found = dealt.insert(dealt.end(), {name, {}});
    found->second.push_back(&slot);
  }
  return dealt;
}

}  // namespace lockstep::comm
