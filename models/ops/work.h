// How much work an operation is: floating-point operations and the least memory traffic, by its shapes alone.
// The same for every backend.
#pragma once

#include "models/ops/kernel.h"

namespace lockstep::models {

/// Work of the request's node and fused nodes, whose stored activations have `element_bytes` each. Gradients
/// of what no parameter lies before (the graph's input, flattened or enlarged) are not counted: nobody
/// computes them.
[[nodiscard]] Work work_of(const KernelRequest& request, std::size_t element_bytes);

}  // namespace lockstep::models
