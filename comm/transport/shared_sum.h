// Adds up the same range of several ranks' arrays that all lie in reach, in one pass over memory: blocks of
// it stay in the cache while they are added and written.
#pragma once

#include <span>
#include <vector>

#include "core/flat_span.h"

namespace lockstep::comm {

class BalancedSum {
 public:
  /// Every span of `results` = sum of `operands` (by rank) in the balanced tree over ranks, the one of
  /// recursive doubling. All spans have the same count and dtype; a result may be an operand itself, other
  /// overlaps may not be. Results that nobody else reads may be written while others are still summed.
  void run(std::span<const FlatSpan> operands, std::span<const FlatSpan> results);

 private:
  void block(std::span<const FlatSpan> operands, FlatSpan out);

  std::vector<std::byte> partial_;  // partial sums of one block, one slot per pair of operands
  std::vector<FlatSpan> sums_;
  std::vector<FlatSpan> parts_;
};

}  // namespace lockstep::comm
