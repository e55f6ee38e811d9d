// Everything an executor decides before it runs: who writes which gradient first, in which order slots
// complete, and where each tensor lies in the arena. Times are those of a Timeline (models/recompute.h).
#pragma once

#include <vector>

#include "core/arena.h"
#include "core/parameters.h"
#include "models/fusion.h"
#include "models/recompute.h"

namespace lockstep::models {

/// Backward of one unit.
struct BackwardStep {
  bool runs = false;  ///< some parameter lies at or before it, and the loss after it
  struct InputGradient {
    bool wanted = false;
    bool add = false;  ///< somebody wrote this gradient before
  };
  std::vector<InputGradient> inputs;
  bool adds_parameters = false;  ///< its (tied) slots already hold the part of a later node
};

/// Per unit. Throws Fault::config when a parameter does not influence the loss.
[[nodiscard]] std::vector<BackwardStep> plan_backward(const Graph& graph, const Units& units);

/// The flat arrays: slots in the order in which backward completes them, the last-ready at the end.
struct SlotPlan {
  SlotLayout parameters;
  SlotLayout states;
  std::vector<int> slot_of_parameter;  ///< per parameter of the graph
  std::vector<int> ready;              ///< per unit: slots [0, ready) are complete after its backward
};
/// Throws Fault::internal when two kernels want different storage orders of a tied slot.
[[nodiscard]] SlotPlan plan_slots(const Graph& graph, const Units& units);

/// Blocks of the arena and who lies in which; -1: nowhere.
struct MemoryPlan {
  std::vector<Lifetime> blocks;
  ArenaPlan arena;
  std::vector<int> activation;  ///< per value
  std::vector<int> gradient;    ///< per value
  std::vector<int> saved;       ///< per unit
  int workspace = -1;
};
/// `backward` is empty when only forward runs. `reuse` false: nothing shares memory.
[[nodiscard]] MemoryPlan plan_memory(const Graph& graph, const Units& units,
                                     const std::vector<BackwardStep>& backward, bool reuse,
                                     const Timeline& line);
/// Without recomputation: backward of unit u happens at time 2 U - 1 - u.
[[nodiscard]] MemoryPlan plan_memory(const Graph& graph, const Units& units,
                                     const std::vector<BackwardStep>& backward, bool reuse);

}  // namespace lockstep::models
