// A row of the table of measurements.
#pragma once

#include <string>

#include "trainer/programs/command.h"

namespace lockstep::programs {

int bench_compress(Context& context);

/// What training on CPUs uses when nobody names a schedule.
[[nodiscard]] std::string usual_schedule(const comm::World& world);

/// Writes `text` to `file`, unless that is empty. Throws Fault::config when it cannot.
void write_json(const std::string& file, const std::string& text);

}  // namespace lockstep::programs
