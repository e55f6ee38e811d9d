// A row of the table of measurements.
#pragma once

#include <string>

#include "trainer/programs/command.h"

namespace lockstep::programs {

int bench_compress(Context& context);

/// What training on such a device uses when nobody names a schedule.
[[nodiscard]] std::string usual_schedule(const comm::World& world, Device device);
/// "cpu", or "cuda": ranks of a node take its GPUs in turn. Throws Fault::config for another name.
[[nodiscard]] Device device_called(const std::string& name, const comm::World& world);

/// Writes `text` to `file`, unless that is empty. Throws Fault::config when it cannot.
void write_json(const std::string& file, const std::string& text);

}  // namespace lockstep::programs
