// What every transport and the collectives on it promise, as checks that run on each rank of any world:
// threads in one process, or ranks under mpirun.
#pragma once

#include <memory>
#include <string_view>

#include "comm/allreduce/schedule.h"
#include "comm/transport.h"

namespace lockstep::comm::conformance {

/// A schedule with its default settings.
[[nodiscard]] std::shared_ptr<const Schedule> schedule_called(std::string_view name);

/// Swaps, rings and all-to-all of sizes 0, 1, prime and large in every dtype; order per pair; duplicates that
/// do not mix; counts.
void transport(World& world);
/// gather, broadcast from each root, exchange, barrier, with the traffic that their plans state; Control;
/// then sums of every summable dtype by `schedule`.
void movement(World& world);
void sums(World& world, std::string_view schedule);

}  // namespace lockstep::comm::conformance
