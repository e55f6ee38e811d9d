// Own loops on the library threads of the compute stream. Work is cut into fixed ranges by its size alone, so
// results do not depend on how many threads run them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lockstep::models::cpu {

/// Calls body(i) for every i in [0, count), on up to `threads` threads.
template <class Body>
void parallel_for(int threads, std::int64_t count, const Body& body) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// A cut of [0, count) into `pieces` ranges of `length` (the last may be shorter).
struct Cut {
  std::int64_t count, length, pieces;
  [[nodiscard]] std::int64_t first(std::int64_t piece) const { return piece * length; }
  [[nodiscard]] std::int64_t size(std::int64_t piece) const {
    return std::min(length, count - piece * length);
  }
};
/// Pieces of at least `least` elements, at most `most` of them.
inline Cut cut(std::int64_t count, std::int64_t least, std::int64_t most = 64) {
  const std::int64_t length = std::max({least, (count + most - 1) / most, std::int64_t{1}});
  return {count, length, (count + length - 1) / length};
}

}  // namespace lockstep::models::cpu
