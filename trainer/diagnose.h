// Finds out who made a step non-finite: repeats this rank's microbatches of the step one by one without an
// exchange and looks at losses and gradients slot by slot. And finds replicas that drifted apart.
#pragma once

#include <cstdint>
#include <string>

#include "comm/collectives.h"
#include "core/error.h"
#include "core/stream.h"
#include "data/loader.h"
#include "trainer/batch_plan.h"
#include "trainer/replica.h"

namespace lockstep::trainer {

/// Collective. The parameters must be those the step began with. Names rank, slot and samples, the same text
/// on every rank. Leaves the loader behind the step and the gradients undefined.
[[nodiscard]] std::string diagnose_nonfinite(Replica& replica, data::Loader& loader, const BatchPlan& plan,
                                             std::int64_t step, comm::Control& control, Stream& compute);

/// What ends a run at a step that `culprit` made non-finite. `skips`: such steps are skipped, but too many
/// were.
[[nodiscard]] Error diverged(std::int64_t step, const std::string& culprit, bool skips);

/// Collective. Throws Fault::communication naming the first rank whose parameters differ from rank 0's: such
/// replicas would train different models.
void check_replicas_agree(const ParameterStore& store, std::int64_t step, comm::Control& control);

}  // namespace lockstep::trainer
