#include "comm/transport/processors.h"

#include <sched.h>

#include <bit>
#include <cstring>

namespace lockstep::comm {

ProcessorSet own_processors() noexcept {
  ProcessorSet own{};
  cpu_set_t set;
  static_assert(sizeof(set) == sizeof(own));
  if (sched_getaffinity(0, sizeof(set), &set) == 0) std::memcpy(own.data(), &set, sizeof(own));
  return own;
}

int count(const ProcessorSet& processors) noexcept {
  int count = 0;
  for (const std::uint64_t word : processors) count += std::popcount(word);
  return count;
}

}  // namespace lockstep::comm
