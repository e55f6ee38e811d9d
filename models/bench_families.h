// The pieces of a step under sustained load, beside what bounds them: `lockstep bench step --sustain`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "models/bench_rig.h"
#include "models/bench_step.h"

namespace lockstep::models {

enum class OpKind : std::uint8_t { convolution, product, norm, attention, other };

/// Of a kernel that does these operations ("conv2d+relu"): that of the first, whose work it is.
[[nodiscard]] OpKind kind_of(std::string_view operations);

/// Measures each for `seconds` (and at least once) on an executor that keeps every tensor. Numbers in the
/// arrays change from run to run, as kernels that add to gradients do so again; nobody reads them.
[[nodiscard]] StepPieces measure_pieces(Rig& rig, double seconds);

/// The least time of the step on this device by these measurements: products as they run in one piece, the
/// memory traffic of the other kernels at the rate of a copy, and the update.
[[nodiscard]] double floor_of(const StepPieces& pieces);

/// Of one family: its memory traffic at the rate of a copy, or its operations at the peak when that is
/// longer.
/// Less is possible where tensors stay in the caches.
[[nodiscard]] double ceiling_of(const FamilyTime& family, const StepBench& bench);

/// A line per family, then the sums; "" when nothing was measured.
[[nodiscard]] std::string table_of_pieces(const StepBench& bench);

}  // namespace lockstep::models
