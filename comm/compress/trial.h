// Tries compressors on the link: how long an exchange of all gradients takes with each. What is timed is the
// exchange alone, with nothing to hide behind, so a difference is the most that compression can save or cost.
#pragma once

#include <string>
#include <vector>

#include "comm/exchange.h"

namespace lockstep::comm {

struct Trial {
  std::string compressor;
  double seconds = 0;           ///< the slowest rank's, median of three
  std::int64_t wire_bytes = 0;  ///< sent by the busiest rank
};

/// Collective, blocking. The exact exchange first, then each of `names`, over gradients of `layout` in the
/// buckets of `options`. The same result on every rank.
[[nodiscard]] std::vector<Trial> try_compressors(const SlotLayout& layout, Collectives& collectives,
                                                 Control& control, const ExchangeOptions& options,
                                                 const std::vector<std::string>& names);

/// The compressor of the trials that pays, or "none", and why in a sentence.
struct Verdict {
  std::string compressor;
  std::string why;
};
[[nodiscard]] Verdict judge_trials(const std::vector<Trial>& trials);

}  // namespace lockstep::comm
