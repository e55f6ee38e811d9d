#include "comm/allreduce/schedule.h"

#include <algorithm>

namespace lockstep::comm {

Range chunk_of(Range whole, int parts, int index) noexcept {
  const std::int64_t base = whole.count / parts;
  const std::int64_t longer = whole.count % parts;
  const std::int64_t before = base * index + std::min<std::int64_t>(index, longer);
  return {whole.first + before, base + (index < longer ? 1 : 0)};
}

Cost Plan::cost() const {
  Cost cost{.rounds = static_cast<std::int64_t>(rounds.size())};
  for (const Round& round : rounds) {
    cost.messages += static_cast<std::int64_t>(round.sends.size());
    for (const RangeTo& send : round.sends) cost.elements += send.range.count;
  }
  return cost;
}

}  // namespace lockstep::comm
