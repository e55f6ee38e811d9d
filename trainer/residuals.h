// What compression remembers, read back from a checkpoint.
#pragma once

#include <string>

#include "comm/exchange.h"
#include "trainer/checkpoint.h"

namespace lockstep::trainer {

/// Collective, blocking. On as many ranks and with the same groups every rank goes on with its own residuals,
/// bit for bit; otherwise every rank takes the mean of all ranks' residuals, and the sentence returned says
/// so.
[[nodiscard]] std::string load_residuals(const Checkpoint& checkpoint, comm::GradientExchange& exchange,
                                         comm::Control& control);

}  // namespace lockstep::trainer
