// What an all-reduce benchmark fills arrays with, so that any wrong element is seen: rank r's element i is
// (i + r) mod period, and every sum of p of them is an exact integer in the dtype, in any order.
#pragma once

#include <cstdint>
#include <vector>

#include "core/flat_span.h"

namespace lockstep::comm {

/// One rank's values for what is only timed: 0.3 common + noise * exp(0.7 noise), which repeat after 65521, a
/// prime, so that no two blocks or chunks are alike; the first `at_most` of them. Zeros and small integers
/// may be quicker to move.
[[nodiscard]] std::vector<float> values_of(int rank, std::int64_t at_most = 65521);
/// Host memory, with them over and over; integers take a million of each.
void fill_with_values(FlatSpan data, const std::vector<float>& values);

class Pattern {
 public:
  Pattern(int rank, int ranks, Dtype dtype);
  void fill(FlatSpan data) const;
  /// Elements that are not the sum over ranks.
  [[nodiscard]] std::int64_t count_wrong(FlatSpan data) const;
  /// Throws Fault::config when sums over `ranks` are not exact in `dtype`, or it cannot be summed.
  static void check(int ranks, Dtype dtype);

 private:
  std::vector<double> sums_;  // of element i at i mod period
  int rank_;
};

}  // namespace lockstep::comm
