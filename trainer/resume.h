// What a resumed run takes from a checkpoint. What ranks saved each for themselves comes back at any number
// of ranks: residuals of compression as their mean, parts of a sharded optimizer as whole slots.
#pragma once

#include <optional>
#include <string>

#include "comm/exchange.h"
#include "core/options.h"
#include "trainer/checkpoint.h"
#include "trainer/run_log.h"

namespace lockstep::trainer {

/// Collective, blocking. The newest whole checkpoint, its shared state completed by the parts of the
/// optimizer's state that ranks saved; empty when there is none. Notes what is worth knowing.
[[nodiscard]] std::optional<Checkpoint> find_checkpoint(const Config& config,
                                                        const std::string& run_directory,
                                                        comm::Control& control, RunLog& log);

/// Collective, blocking. On as many ranks and with the same groups every rank goes on with its own residuals,
/// bit for bit; otherwise every rank takes the mean of all ranks' residuals, and the sentence returned says
/// so.
[[nodiscard]] std::string load_residuals(const Checkpoint& checkpoint, comm::GradientExchange& exchange,
                                         comm::Control& control);

}  // namespace lockstep::trainer
