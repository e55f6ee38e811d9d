// Activation recomputation: what lies inside a segment of the graph is thrown away after forward and computed
// a second time when backward comes to the segment; only values that cross segments are kept. Chen, Xu, Zhang
// & Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016. The second run gives the same bits,
// because everything random is a function of its index.
//
// Time: with U units, forward of unit u happens at time u; behind that come the steps of backward, one by
// one.
#pragma once

#include <vector>

#include "models/fusion.h"

namespace lockstep::models {

struct BackwardStep;

/// What backward does, in order.
struct BackwardEvent {
  int unit = 0;
  bool forward = false;  ///< the unit's forward once more; else its backward
};

struct Timeline {
  std::vector<BackwardEvent> events;  ///< event i happens at time U + i
  std::vector<int> again;             ///< per unit: when its forward runs once more; -1: never
  std::vector<int> backward;          ///< per unit
  std::vector<bool> kept;  ///< per value: it stays from forward to backward where backward reads it
  [[nodiscard]] int end() const noexcept { return static_cast<int>(again.size() + events.size()) - 1; }
  /// Units that run twice.
  [[nodiscard]] int repeated() const noexcept;
};

/// Segments begin at units `starts` (growing, the first is 0). The last segment's values are still there when
/// backward begins, so nothing of it runs again; of the others, what backward needs.
[[nodiscard]] Timeline make_timeline(const Graph& graph, const Units& units,
                                     const std::vector<BackwardStep>& backward,
                                     const std::vector<int>& starts);

/// The cut into segments whose planned memory is the smallest among those that keep least for a given size of
/// segments. One segment, which recomputes nothing, when no cut saves memory.
[[nodiscard]] Timeline plan_recompute(const Graph& graph, const Units& units,
                                      const std::vector<BackwardStep>& backward);

}  // namespace lockstep::models
