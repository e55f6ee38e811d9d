// Which node each rank runs on: what a schedule may know about where ranks are.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

namespace lockstep::comm {

class Topology {
 public:
  /// So many ranks on one node. A number of ranks is a topology, so code that has no nodes needs none.
  Topology(int ranks) : ranks_(ranks) {}  // NOLINT(google-explicit-constructor)
  /// By rank: the node, numbered from 0 in order of appearance.
  explicit Topology(const std::vector<int>& labels) : ranks_(static_cast<int>(labels.size())) {
    std::vector<int> seen;
    for (const int label : labels) {
      const auto found = std::find(seen.begin(), seen.end(), label);
      nodes_.push_back(static_cast<int>(found - seen.begin()));
      if (found == seen.end()) seen.push_back(label);
    }
    node_count_ = std::max(1, static_cast<int>(seen.size()));
  }

  [[nodiscard]] int ranks() const noexcept { return ranks_; }
  [[nodiscard]] int nodes() const noexcept { return node_count_; }
  [[nodiscard]] int node_of(int rank) const noexcept {
    return nodes_.empty() ? 0 : nodes_[static_cast<std::size_t>(rank)];
  }
  /// In rank order.
  [[nodiscard]] std::vector<int> ranks_of(int node) const {
    std::vector<int> members;
    for (int rank = 0; rank < ranks_; ++rank) {
      if (node_of(rank) == node) members.push_back(rank);
    }
    return members;
  }

 private:
  int ranks_;
  int node_count_ = 1;
  std::vector<int> nodes_;  // empty: one node
};

}  // namespace lockstep::comm
