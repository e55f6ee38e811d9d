// The measurements that the model is fitted to.
#pragma once

#include "comm/autotune/model.h"
#include "comm/transport.h"

namespace lockstep::comm {

/// Collective, blocks: a fraction of a second on a fast link. The same numbers on every rank: the slowest
/// rank's.
[[nodiscard]] CostModel measure_costs(World& world, double deadline_s);

}  // namespace lockstep::comm
