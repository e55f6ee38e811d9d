// What ranks-as-threads share: a job with one lock, and one channel of mailboxes per transport. A sender
// posts where its bytes lie, the receiver copies them straight from there and says so; nothing is buffered.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "comm/transport/host_transport.h"
#include "comm/transport/processors.h"
#include "core/memory.h"

namespace lockstep::comm {

/// A message on offer: it lies on the sender's side until `done`.
struct Post {
  int from = 0;
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
  bool done = false;
};

/// The mailboxes and positions of one transport; guarded by its job's mutex.
struct Channel {
  explicit Channel(int ranks)
      : boxes(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks)),
        positions(static_cast<std::size_t>(ranks)),
        shares(static_cast<std::size_t>(ranks)),
        duplicates(static_cast<std::size_t>(ranks)),
        size(ranks) {}
  [[nodiscard]] std::deque<Post*>& box(int from, int to) {
    return boxes[static_cast<std::size_t>(to) * static_cast<std::size_t>(size) +
                 static_cast<std::size_t>(from)];
  }

  std::vector<std::deque<Post*>> boxes;
  std::vector<Position> positions;
  std::vector<std::vector<Memory>> shared;  ///< by share(): one block per rank
  std::vector<int> shares;                  ///< by rank: how often it has called share()
  std::vector<int> duplicates;              ///< by rank: how many duplicates it has asked for
  int size;
};

/// The ranks of one run_ranks_as_threads().
class ThreadJob {
 public:
  explicit ThreadJob(Topology where)
      : topology(std::move(where)),
        size(topology.ranks()),
        crowded(size > count(own_processors())),
        root(size),
        wake(static_cast<std::size_t>(size)),
        ended(static_cast<std::size_t>(size)) {}

  /// The channel that rank `rank`'s next duplicate of `parent` uses; the same object for the same count on
  /// every rank.
  [[nodiscard]] std::shared_ptr<Channel> duplicate(Channel& parent, int rank);
  /// Ends the waits of all ranks; the first failure is kept. Any thread; takes the lock.
  void fail(int rank, const std::string& what);
  /// How near `text`, what a rank's body threw, is to the cause: 0 its own failure, 1 an expired wait, 2 an
  /// echo of a peer's failure. By text, because streams hand on errors as plain Error.
  [[nodiscard]] int distance_from_cause(const std::string& text) const;
  /// Rank `rank` will send and receive no more.
  void end(int rank);
  void wake_all();
  /// Under the lock: throws when rank `rank` need not wait for `peers` (any more): somebody failed, one of
  /// them has ended, or the deadline has passed.
  void stop_if_hopeless(const Channel& channel, const Operation& operation, int rank,
                        const Deadline& deadline, const std::vector<int>& peers);

  const Topology topology;
  const int size;
  const bool crowded;  ///< more ranks than processors
  std::mutex mutex;
  Channel root;                               ///< parent of all; carries no messages
  std::vector<std::condition_variable> wake;  ///< by rank: something in one of its mailboxes changed
  std::vector<char> ended;
  std::string failure;            ///< "rank 2 failed: ..."; empty: none
  std::set<std::string> expired;  ///< texts of expired waits

 private:
  std::map<std::pair<const Channel*, int>, std::shared_ptr<Channel>> channels_;
};

[[nodiscard]] std::unique_ptr<Transport> make_thread_transport(std::shared_ptr<ThreadJob> job,
                                                               std::shared_ptr<Channel> channel, int rank,
                                                               double deadline_s);

}  // namespace lockstep::comm
