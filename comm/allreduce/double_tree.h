// The two trees of the double binary tree, apart from the schedule so that tests can look at their structure.
#pragma once

#include <array>

namespace lockstep::comm {

/// A rank's place in one tree; -1 where there is nobody. `lower` and `higher` are the children on its two
/// sides.
struct TreePlace {
  int parent = -1;
  int lower = -1;
  int higher = -1;
  int depth = 0;  ///< edges to the root
};

/// Ranks in order along the bottom-up binary counter: odd numbers are leaves, number 0 is the root with one
/// child.
[[nodiscard]] TreePlace binary_tree_place(int rank, int ranks) noexcept;

/// Both places of a rank: tree 0 as above; tree 1 mirrored (even ranks) or shifted by one (odd), so that a
/// rank that is interior in one tree is a leaf in the other, except for one rank when `ranks` is odd.
[[nodiscard]] std::array<TreePlace, 2> double_tree_places(int rank, int ranks) noexcept;

/// Depth of the deepest rank: ceil(log2 ranks).
[[nodiscard]] int tree_depth(int ranks) noexcept;

}  // namespace lockstep::comm
