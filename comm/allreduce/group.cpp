#include "comm/allreduce/group.h"

#include <algorithm>
#include <bit>

#include "comm/allreduce/rows.h"

namespace lockstep::comm {

void append(Plan& whole, const Plan& part, const Phase& phase) {
  const auto moved = [&](Range range) { return Range{range.first + phase.offset, range.count}; };
  const auto rank = [&](int place) { return phase.ranks[static_cast<std::size_t>(place)]; };
  for (std::int64_t at = phase.from; at < phase.to; ++at) {
    Round& round = whole.rounds.emplace_back();
    if (at >= static_cast<std::int64_t>(part.rounds.size())) continue;
    const Round& given = part.rounds[static_cast<std::size_t>(at)];
    for (const RangeTo& each : given.sends) round.sends.push_back({rank(each.to), moved(each.range)});
    for (const RangeFrom& each : given.receives) {
      round.receives.push_back({rank(each.from), moved(each.range), each.arrival});
    }
  }
}

namespace {

/// left + right, in the place of the one that must be kept.
Range add_two(Round& round, Range left, Range right, Range mine) {
  const bool into_left = left == mine;
  round.locals.push_back(into_left ? Local{right, left, Arrival::add_as_right}
                                   : Local{left, right, Arrival::add_as_left});
  return into_left ? left : right;
}

}  // namespace

void add_balanced(Round& round, const std::vector<Range>& operands, std::size_t mine) {
  const Range kept = operands[mine];
  if (kept.count == 0) return;
  const std::size_t extra = operands.size() - std::bit_floor(operands.size());
  std::vector<Range> sums;  // of the members that fold.h leaves
  for (std::size_t i = 0; i < extra; ++i) {
    sums.push_back(add_two(round, operands[2 * i], operands[2 * i + 1], kept));
  }
  sums.insert(sums.end(), operands.begin() + static_cast<std::ptrdiff_t>(2 * extra), operands.end());
  while (sums.size() > 1) {
    for (std::size_t i = 0; i < sums.size() / 2; ++i) {
      sums[i] = add_two(round, sums[2 * i], sums[2 * i + 1], kept);
    }
    sums.resize(sums.size() / 2);
  }
}

void add_collect(Plan& plan, const Sharing& sharing) {
  Round round;
  const Range own = sharing.own();
  std::vector<Range> operands;
  for (int place = 0; place < sharing.size(); ++place) {
    const int rank = sharing.ranks[static_cast<std::size_t>(place)];
    if (place == sharing.me) {
      operands.push_back(own);
      continue;
    }
    if (place < sharing.owners) send(round, rank, sharing.chunk(place));
    operands.push_back({sharing.count + plan.workspace, own.count});
    plan.workspace += own.count;
    receive(round, rank, operands.back(), Arrival::replace);
  }
  add_balanced(round, operands, static_cast<std::size_t>(sharing.me));
  plan.rounds.push_back(std::move(round));
}

void add_spread(Plan& plan, const Sharing& sharing) {
  Round& round = plan.rounds.emplace_back();
  for (int place = 0; place < sharing.size(); ++place) {
    if (place == sharing.me) continue;
    const int rank = sharing.ranks[static_cast<std::size_t>(place)];
    send(round, rank, sharing.own());
    if (place < sharing.owners) receive(round, rank, sharing.chunk(place), Arrival::replace);
  }
}

Cost collect_cost(const Sharing& sharing) {
  const std::int64_t chunks = std::min<std::int64_t>(sharing.count, sharing.owners);
  const Range own = sharing.own();
  return {1, chunks - (own.count > 0 ? 1 : 0), sharing.count - own.count};
}

Cost spread_cost(const Sharing& sharing) {
  const Range own = sharing.own();
  const std::int64_t peers = sharing.size() - 1;
  return {1, own.count > 0 ? peers : 0, peers * own.count};
}

}  // namespace lockstep::comm
