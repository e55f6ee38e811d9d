// A row of the table of measurements.
#pragma once

#include <cxxopts.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/programs/command.h"

namespace lockstep::programs {

int bench_compress(Context& context);

/// What training on such a device uses when nobody names a schedule.
[[nodiscard]] std::string usual_schedule(const comm::World& world, Device device);
/// "cpu", or "cuda": ranks of a node take its GPUs in turn. Throws Fault::config for another name.
[[nodiscard]] Device device_called(const std::string& name, const comm::World& world);

/// The words of a measurement. Throws as parse_words(), and when the file of --json cannot be written, which
/// is better known before the measurement than after it.
[[nodiscard]] std::optional<cxxopts::ParseResult> parse_bench(cxxopts::Options options,
                                                              const Context& context);
/// The parts that an option names, repeated or as a list that commas separate; none without it.
[[nodiscard]] std::vector<std::string> parts_given(const cxxopts::ParseResult& given,
                                                   const std::string& option);

/// Writes `text` to `file`, unless that is empty. Throws Fault::config when it cannot.
void write_json(const std::string& file, const std::string& text);

}  // namespace lockstep::programs
