// How many ranks a test runs as threads.
#pragma once

#include <vector>

namespace lockstep {

/// `counts`, which has 1 to 5 or more. Under ThreadSanitizer those above 5 are left out: every kind of
/// interleaving is there with fewer (2 and 4 are powers of two, 3 and 5 are not), and each costs several
/// times the one before.
[[nodiscard]] inline std::vector<int> rank_counts(std::vector<int> counts) {
#ifdef __SANITIZE_THREAD__
  std::erase_if(counts, [](int count) { return count > 5; });
#endif
  return counts;
}

}  // namespace lockstep
