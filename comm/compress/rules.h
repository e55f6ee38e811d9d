// Which compressor sends a slot: a pure function of its name and shape.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/compress/options.h"
#include "core/parameters.h"

namespace lockstep::comm {

/// Whether `name` matches `pattern`, in which * stands for any letters and ? for one.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view name);

class SlotRules {
 public:
  /// Throws Fault::config for a rule that is not "pattern=name" or names no compressor.
  explicit SlotRules(const CompressionOptions& options);
  /// The compressor of `slot`; "none": it is summed exactly. Slots of one dimension or fewer than
  /// min_elements always are.
  [[nodiscard]] std::string choose(const Slot& slot) const;
  /// Patterns that match none of `slots` but such as are always summed exactly.
  [[nodiscard]] std::vector<std::string> idle(std::span<const Slot> slots) const;
  /// `slots` by compressor, each in order.
  [[nodiscard]] std::vector<std::pair<std::string, std::vector<const Slot*>>> deal(
      std::span<const Slot> slots) const;

 private:
  [[nodiscard]] bool always_exact(const Slot& slot) const;

  std::string fallback_;
  std::int64_t min_elements_;
  std::vector<std::pair<std::string, std::string>> rules_;
};

}  // namespace lockstep::comm
