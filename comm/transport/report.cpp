#include "comm/transport/report.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace lockstep::comm {

namespace {

std::string_view name_of(const Position& position) { return position.name.data(); }

/// True when both say the same operation of the same sequence number.
bool same_operation(const Position& theirs, const Position& mine) {
  return theirs.sequence == mine.sequence && name_of(theirs) == name_of(mine);
}

/// Behind, or at the same number in something else.
bool out_of_step(const Position& theirs, const Position& mine) {
  return theirs.sequence < mine.sequence ||
         (theirs.sequence == mine.sequence && name_of(theirs) != name_of(mine));
}

std::string where(int rank, const std::optional<Position>& position, const Position& mine) {
  if (!position) return fmt::format("rank {} did not answer", rank);
  if (position->sequence == 0) return fmt::format("rank {} has not begun any operation", rank);
  if (position->sequence == mine.sequence && !same_operation(*position, mine)) {
    return fmt::format("rank {} calls another operation at this sequence: {}", rank, name_of(*position));
  }
  if (same_operation(*position, mine)) {
    return fmt::format("rank {} is {} the same operation", rank,
                       position->inside ? "in" : "past its part of");
  }
  return fmt::format("rank {} {} sequence {} in {}", rank,
                     position->inside ? "is still at" : "has not come on from", position->sequence,
                     name_of(*position));
}

std::string what_of(const Expired& expired) {
  const Operation& operation = expired.operation;
  std::string text = fmt::format("{} (sequence {}, ", operation.name, operation.sequence);
  if (operation.bucket >= 0) text += fmt::format("bucket {}, ", operation.bucket);
  const std::vector<int> missing = missing_ranks(expired);
  text += fmt::format("{} bytes) waited {:.1f} s on rank {} for {}", operation.bytes, expired.waited_s,
                      expired.rank, rank_list(missing));
  const Position mine = position_in(operation, true);
  constexpr std::size_t kTold = 8;  // more would not be read
  for (std::size_t i = 0; i < std::min(missing.size(), kTold); ++i) {
    const auto rank = static_cast<std::size_t>(missing[i]);
    const bool known = rank < expired.positions.size();
    text += (i == 0 ? ": " : "; ") + where(missing[i], known ? expired.positions[rank] : std::nullopt, mine);
  }
  return text;
}

std::string hint_of(const Expired& expired) {
  const Position mine = position_in(expired.operation, true);
  for (const std::optional<Position>& theirs : expired.positions) {
    if (theirs && theirs->sequence == mine.sequence && !same_operation(*theirs, mine)) {
      return "all ranks must call the same collectives in the same order; check that they run the same "
             "program and config";
    }
  }
  return "look at that rank's log and host; if it is only slow, raise the deadline";
}

}  // namespace

Position position_in(const Operation& operation, bool inside) noexcept {
  Position position;
  const std::size_t length = std::min(operation.name.size(), position.name.size() - 1);
  std::copy_n(operation.name.begin(), length, position.name.begin());
  position.sequence = operation.sequence;
  position.bucket = operation.bucket;
  position.inside = inside ? 1 : 0;
  return position;
}

std::vector<int> missing_ranks(const Expired& expired) {
  const Position mine = position_in(expired.operation, true);
  std::vector<int> missing;
  for (std::size_t rank = 0; rank < expired.positions.size(); ++rank) {
    const std::optional<Position>& theirs = expired.positions[rank];
    if (static_cast<int>(rank) == expired.rank) continue;
    if (!theirs || out_of_step(*theirs, mine)) missing.push_back(static_cast<int>(rank));
  }
  return missing.empty() ? expired.waiting_for : missing;
}

DeadlineExpired::DeadlineExpired(const Expired& expired)
    : Error(Fault::communication, what_of(expired), hint_of(expired)) {}

std::string rank_list(const std::vector<int>& ranks) {
  constexpr std::size_t kNamed = 8;
  if (ranks.empty()) return "no rank";
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  const std::size_t listed = ranks.size() > kNamed ? kNamed : ranks.size() - 1;
  const std::string first =
      fmt::format("ranks {}", fmt::join(ranks.begin(), ranks.begin() + static_cast<long>(listed), ", "));
  if (ranks.size() > kNamed) return fmt::format("{} and {} more", first, ranks.size() - kNamed);
  return fmt::format("{} and {}", first, ranks.back());
}

std::string this_host() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace lockstep::comm
