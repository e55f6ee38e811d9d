// Sums by copy engines, on lanes that go on as the dice fall: in every order the sums are right, and without
// any one of the waits some order gives wrong ones.
#include "comm/peer/segments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace lockstep::comm {
namespace {

/// The arrays and scratch memory of all ranks, an element a segment, and what is enqueued on their lanes.
class Node {
 public:
  Node(int ranks, int segments) : ranks_(ranks), segments_(segments), lanes_(at(ranks)) {
    const std::vector<long> chunk(at(segments), -1);
    arrays_.assign(at(ranks), std::vector(at(ranks), chunk));
    scratch_ = arrays_;
  }
  [[nodiscard]] int ranks() const { return ranks_; }
  [[nodiscard]] int segments() const { return segments_; }
  /// Element [chunk][segment] of a rank's array.
  long& array(int rank, int chunk, int segment) { return arrays_[at(rank)][at(chunk)][at(segment)]; }
  long& scratch(int rank, int from, int segment) { return scratch_[at(rank)][at(from)][at(segment)]; }

  /// Runs once all before it on its lane has, and when it says that it has run.
  void enqueue(int rank, CopyLane lane, std::function<bool()> task) {
    lanes_[at(rank)][static_cast<std::size_t>(lane)].push_back(std::move(task));
  }
  void work(int rank, CopyLane lane, std::function<void()> task) {
    enqueue(rank, lane, [task = std::move(task)] { return task(), true; });
  }
  /// One lane goes on only when no other can. False when nothing could go on any more.
  bool run(std::mt19937& dice) {
    const auto* slow = &lanes_[dice() % lanes_.size()][dice() % lanes_.front().size()];
    while (true) {
      std::vector<std::deque<std::function<bool()>>*> waiting;
      for (auto& rank : lanes_)
        for (auto& lane : rank)
          if (!lane.empty()) waiting.push_back(&lane);
      if (waiting.empty()) return true;
      std::shuffle(waiting.begin(), waiting.end(), dice);
      std::partition(waiting.begin(), waiting.end(), [&](const auto* lane) { return lane != slow; });
      bool ran = false;
      for (std::size_t i = 0; i < waiting.size() && !ran; ++i) {
        ran = waiting[i]->front()();
        if (ran) waiting[i]->pop_front();
      }
      if (!ran) return false;
    }
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  int ranks_, segments_;
  std::vector<std::vector<std::vector<long>>> arrays_, scratch_;
  std::vector<std::array<std::deque<std::function<bool()>>, 2>> lanes_;
};

/// One rank's lanes. Leaves out wait number `without` of each sum.
class Lanes {
 public:
  Lanes(Node& node, std::vector<int>& arrived, int rank, int without)
      : node_(node), arrived_(arrived), rank_(rank), without_(without) {}

  void follow(CopyLane first, CopyLane then) {
    if (waits_++ == without_) return;
    auto done = std::make_shared<bool>(false);
    node_.work(rank_, first, [done] { *done = true; });
    node_.enqueue(rank_, then, [done] { return *done; });
  }
  void meet() {
    if (waits_++ == without_) return;
    const std::size_t meeting = meetings_++;
    node_.work(rank_, CopyLane::sums, [this, meeting] {
      if (arrived_.size() <= meeting) arrived_.resize(meeting + 1);
      ++arrived_[meeting];
    });
    node_.enqueue(rank_, CopyLane::sums, [this, meeting] { return arrived_[meeting] == node_.ranks(); });
  }
  void send(int segment) {
    each_peer([&](int peer) {
      node_.work(rank_, CopyLane::copies, [this, peer, segment] {
        node_.scratch(peer, rank_, segment) = node_.array(rank_, peer, segment);
      });
    });
  }
  void add(int segment) {
    node_.work(rank_, CopyLane::sums, [this, segment] {
      each_peer([&](int peer) { node_.array(rank_, rank_, segment) += node_.scratch(rank_, peer, segment); });
    });
  }
  void hand_back(int first, int last) {
    each_peer([&](int peer) {
      node_.work(rank_, CopyLane::copies, [this, peer, first, last] {
        for (int segment = first; segment < last; ++segment)
          node_.array(peer, rank_, segment) = node_.array(rank_, rank_, segment);
      });
    });
  }
  void next_sum() { waits_ = 0; }

 private:
  template <class Visit>
  void each_peer(Visit visit) {
    for (int step = 1; step < node_.ranks(); ++step) visit((rank_ + step) % node_.ranks());
  }

  Node& node_;
  std::vector<int>& arrived_;  // at each meeting
  int rank_, without_, waits_ = 0;
  std::size_t meetings_ = 0;
};

/// What a rank's element is before sum number `time`, and after it.
long before(int time, int rank, int chunk, int segment) {
  return 1'000 * time + 100 * rank + 10 * chunk + segment;
}
long after(int time, int ranks, int chunk, int segment) {
  return ranks * (1'000L * time + 10L * chunk + segment) + 100L * ranks * (ranks - 1) / 2;
}

template <class Visit>
void each_element(const Node& node, Visit visit) {
  for (int chunk = 0; chunk < node.ranks(); ++chunk)
    for (int segment = 0; segment < node.segments(); ++segment) visit(chunk, segment);
}

/// Writes the array, sums it and reads it three times over, in one order; true when all sums are right.
bool sums_right(int ranks, int segments, unsigned seed, int without = -1) {
  Node node(ranks, segments);
  std::vector<int> arrived;
  std::deque<Lanes> lanes;
  int wrong = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    Lanes& own = lanes.emplace_back(node, arrived, rank, without);
    for (int time = 0; time < 3; ++time, own.next_sum()) {
      each_element(node, [&](int chunk, int segment) {
        node.work(rank, CopyLane::sums,
                  [=, &node] { node.array(rank, chunk, segment) = before(time, rank, chunk, segment); });
      });
      sum_in_segments(segments, own);
      each_element(node, [&](int chunk, int segment) {
        node.work(rank, CopyLane::sums, [=, &node, &wrong] {
          wrong += node.array(rank, chunk, segment) == after(time, ranks, chunk, segment) ? 0 : 1;
        });
      });
    }
  }
  std::mt19937 dice(seed);
  return node.run(dice) && wrong == 0;
}

TEST(PeerSegments, sums_are_right_in_every_order) {
  for (const int ranks : {2, 3, 4, 8}) {
    for (const int segments : {1, 2, 3, 5}) {
      for (unsigned seed = 0; seed < 8; ++seed)
        ASSERT_TRUE(sums_right(ranks, segments, seed))
            << ranks << " ranks, " << segments << " segments, " << seed;
    }
  }
}

TEST(PeerSegments, no_wait_can_be_left_out) {
  constexpr int kSegments = 2, kWaits = 2 * kSegments + 5;
  for (int without = 0; without < kWaits; ++without) {
    int wrong = 0;
    for (unsigned seed = 0; seed < 60; ++seed) wrong += sums_right(3, kSegments, seed, without) ? 0 : 1;
    EXPECT_GT(wrong, 0) << "wait " << without;
  }
  EXPECT_TRUE(sums_right(3, kSegments, 0, kWaits)) << "there is no such wait";
}

}  // namespace
}  // namespace lockstep::comm
