// Transports for buffers on a device: host memory travels by the world itself, GPU memory by NCCL, or by MPI,
// directly or through page-locked host memory. The config kind is `transport`.
#pragma once

#include <memory>
#include <string>

#include "comm/allreduce/schedule.h"
#include "comm/transport.h"
#include "core/options.h"
#include "core/registry.h"

namespace lockstep::comm {

/// Which buffers a transport moves, and how long its waits may take.
struct TransportSite {
  Device device = {};
  double deadline_s = 300;
};

/// Makers are collective. `auto` is the world's own transport for host memory and for a lone rank, NCCL for a
/// GPU when this build has it, else MPI. Making one throws Fault::config when it does not suit the device or
/// is not built.
using TransportRegistry = Registry<Transport, World&, const TransportSite&>;
[[nodiscard]] const TransportRegistry& transports();

/// How the named transport moves messages of GPUs, for people: "NCCL 2.28.9", "MPI, directly", "MPI through
/// page-locked memory"; empty for a lone rank.
[[nodiscard]] std::string gpu_messages_text(std::string_view name, const Options& options,
                                            const World& world);

/// Collective, blocks. The named transport, with what the schedule needs besides messages: for `peer` on
/// GPUs, memory that all ranks map. Throws when it does not suit the device, is not built, or GPUs do not
/// reach each other.
[[nodiscard]] std::unique_ptr<Transport> connect(std::string_view name, const Options& options,
                                                 const Schedule& schedule, World& world,
                                                 const TransportSite& site);

/// Every GPU copies to the next one at the same time: what links carry when nothing is added.
class NeighbourCopies {
 public:
  virtual ~NeighbourCopies() = default;
  /// Enqueues this rank's copy.
  virtual void enqueue(std::int64_t bytes, Stream& stream) = 0;
};
/// Collective, blocks. For copies of at most `most_bytes`; null when this build has no GPUs.
[[nodiscard]] std::unique_ptr<NeighbourCopies> make_neighbour_copies(World& world, const TransportSite& site,
                                                                     std::int64_t most_bytes);

/// "2.28.9": the NCCL that the program runs with; "no" when this build has none.
[[nodiscard]] std::string nccl_version();

}  // namespace lockstep::comm
