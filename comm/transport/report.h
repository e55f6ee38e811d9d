// What ranks tell about themselves, and the sentence that an expired deadline becomes: operation, sequence,
// bucket, bytes, seconds, the ranks that did not answer, and where they are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/transport.h"
#include "core/error.h"

namespace lockstep::comm {

/// Where a rank is on one transport. Trivially copyable: ranks send it as bytes.
struct Position {
  std::array<char, 48> name{};  ///< of the latest operation, zero-terminated
  std::int64_t sequence = 0;    ///< of the latest operation; 0: none yet
  std::int64_t bucket = -1;
  std::int64_t inside = 0;  ///< 1: in a transfer of it now
};
[[nodiscard]] Position position_in(const Operation& operation, bool inside) noexcept;

/// A wait that expired on `rank`.
struct Expired {
  int rank = 0;
  Operation operation;
  double waited_s = 0;
  std::vector<int> waiting_for;                    ///< peers whose part of this transfer is outstanding
  std::vector<std::optional<Position>> positions;  ///< by rank; empty: that rank did not answer
};

/// The ranks to blame: those that did not answer, are behind, or are in another operation of the same
/// sequence number; when there is none, the peers that were waited for.
[[nodiscard]] std::vector<int> missing_ranks(const Expired& expired);

/// Thrown when a deadline expired.
class DeadlineExpired : public Error {
 public:
  explicit DeadlineExpired(const Expired& expired);
};

/// A place on the job's board for one transport.
class Watchpost {
 public:
  virtual ~Watchpost() = default;
  /// Where this rank is. Any thread.
  virtual void publish(const Position& position) = 0;
  /// Asks the other ranks where they are and makes the report of a wait of `waited_s` that expired in
  /// `operation`. Blocks for some seconds. Any thread. Afterwards the job can only end.
  [[nodiscard]] virtual DeadlineExpired report(const Operation& operation, double waited_s) = 0;
};

/// Thrown when a wait was cut short because a peer failed: never the root cause.
class PeerFailed : public Error {
 public:
  using Error::Error;
};

/// "rank 2", "ranks 2, 5 and 7", "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 92 more".
[[nodiscard]] std::string rank_list(const std::vector<int>& ranks);

/// This machine's name.
[[nodiscard]] std::string this_host();

}  // namespace lockstep::comm
