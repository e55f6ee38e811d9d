// The measurements that the model is fitted to.
#pragma once

#include <string>
#include <vector>

#include "comm/autotune/model.h"
#include "comm/transport.h"

namespace lockstep::comm {

struct SweepOptions {
  Device device = {};              ///< of this rank's arrays
  std::string transport = "auto";  ///< with settings: "nccl:max_ctas=8"
  double deadline_s = 60;
  std::vector<std::string> whole;  ///< schedules that run no plan there
};

/// Collective, blocks: a fraction of a second on a fast link. The same numbers on every rank: the slowest
/// rank's.
[[nodiscard]] CostModel measure_costs(World& world, const SweepOptions& options);

}  // namespace lockstep::comm
