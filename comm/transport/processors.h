// Which processors a job's ranks may run on: a launcher, a container or taskset may leave them fewer than the
// machine has.
#pragma once

#include <array>
#include <cstdint>

namespace lockstep::comm {

/// A bit for each processor, in the order of cpu_set_t.
using ProcessorSet = std::array<std::uint64_t, 16>;

/// Those of the calling thread; none where the system does not tell.
[[nodiscard]] ProcessorSet own_processors() noexcept;
[[nodiscard]] int count(const ProcessorSet& processors) noexcept;

}  // namespace lockstep::comm
