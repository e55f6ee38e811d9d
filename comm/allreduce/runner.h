// Executes a plan over a transport. What arrives to be added goes to scratch and is added in the order that
// the plan says, so that all ranks compute the same bits; what arrives to replace goes straight to its place.
#pragma once

#include <cstdint>

#include "comm/allreduce/schedule.h"
#include "comm/transport.h"

namespace lockstep::comm {

/// Elements of scratch that run_plan() needs: the workspace, and the most that arrives to be added in one
/// round.
[[nodiscard]] std::int64_t scratch_elements(const Plan& plan) noexcept;

/// Collective, enqueues. `scratch` has data's dtype, at least scratch_elements(plan) elements, and stays
/// untouched by others until the stream has passed. Ranges that arrive for the same elements in one round are
/// added in the order of the plan.
void run_plan(const Plan& plan, FlatSpan data, FlatSpan scratch, Transport& transport,
              const Operation& operation, Stream& stream);

}  // namespace lockstep::comm
