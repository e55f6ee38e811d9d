// Which nodes run as one kernel. Patterns name chains of operations; a chain whose inner values nobody else
// reads is offered to the backend, longest first, and runs node by node where the backend declines.
#pragma once

#include <memory>
#include <vector>

#include "models/graph.h"
#include "models/ops/kernel.h"

namespace lockstep::models {

/// One kernel with the nodes it runs. Inputs, parameters and states are those of the first node, then those
/// that the fused nodes add.
struct Unit {
  std::unique_ptr<Kernel> kernel;
  std::vector<const Node*> nodes;
  std::vector<int> inputs;
  int output = -1;
  std::vector<int> parameters;
  std::vector<int> states;
};

struct Units {
  std::vector<Unit> units;            ///< in a valid forward order
  std::vector<TensorLayout> layouts;  ///< per value; values inside a fused unit have none (an empty shape)
};

struct FusionOptions {
  bool fuse = true;
  bool training = true;
};

/// Makes all kernels. The graph must outlive the units. Throws what Backend::make throws.
[[nodiscard]] Units make_units(const Graph& graph, Backend& backend, const FusionOptions& options);

}  // namespace lockstep::models
