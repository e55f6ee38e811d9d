// The table of transports by device: the only C++ of this floor that knows which device folders are built.
#include "comm/device_transport.h"

#include <span>
#include <utility>

#include "comm/staged.h"
#ifdef LOCKSTEP_WITH_CUDA
#include "comm/nccl/nccl.h"
#include "comm/peer/peer.h"
#endif

namespace lockstep::comm {

namespace {

std::unique_ptr<Transport> make_world_transport(const Options& /*options*/, World& world,
                                                const TransportSite& site) {
  std::unique_ptr<Transport> own = world.transport(site.deadline_s);
  if (site.device.kind == DeviceKind::cpu) return own;
  return make_staged_transport(std::move(own), site.device);
}

#ifdef LOCKSTEP_WITH_CUDA
constexpr TransportRegistry::Make kMakeNccl = make_nccl_transport;
constexpr bool kHasNccl = true;
std::unique_ptr<Transport> equip_with_peers(std::unique_ptr<Transport> transport, const PeerSums& sums,
                                            World& world, const TransportSite& site) {
  return make_peer_transport(std::move(transport), sums, world, site);
}
#else
constexpr TransportRegistry::Make kMakeNccl = nullptr;
constexpr bool kHasNccl = false;
std::unique_ptr<Transport> equip_with_peers(std::unique_ptr<Transport> transport, const PeerSums& /*sums*/,
                                            World& /*world*/, const TransportSite& /*site*/) {
  return transport;
}
#endif

constexpr Setting kNccl[] = {
    {"min_ctas", SettingType::integer, "0",
     "fewest thread blocks (multiprocessors) NCCL uses; 0: its own choice", "[0,64]"},
    {"max_ctas", SettingType::integer, "0", "most thread blocks NCCL uses; 0: its own choice", "[0,64]"},
    {"register", SettingType::boolean, "true",
     "lend the gradient array registered memory (symmetric windows)"},
};

std::unique_ptr<Transport> make_automatic(const Options& options, World& world, const TransportSite& site) {
  const bool nccl = kHasNccl && site.device.kind == DeviceKind::cuda && world.size() > 1;
  return nccl ? kMakeNccl(options, world, site) : make_world_transport(options, world, site);
}

constexpr TransportRegistry::Row kRows[] = {
    {"auto", "NCCL between GPUs when this build has it, else MPI", kNccl, make_automatic},
    {"mpi", "MPI; from and to a GPU through page-locked host memory", {}, make_world_transport},
    {"nccl", "NCCL between GPUs", kNccl, kMakeNccl},
};

}  // namespace

const TransportRegistry& transports() {
  static const TransportRegistry kTable("transport", kRows);
  return kTable;
}

std::unique_ptr<Transport> connect(std::string_view name, const Options& options, const Schedule& schedule,
                                   World& world, const TransportSite& site) {
  auto transport = transports().create(name, options, world, site);
  if (schedule.peer() == nullptr || site.device.kind == DeviceKind::cpu || world.size() == 1)
    return transport;
  return equip_with_peers(std::move(transport), *schedule.peer(), world, site);
}

#ifndef LOCKSTEP_WITH_CUDA
std::unique_ptr<NeighbourCopies> make_neighbour_copies(World& /*world*/, const TransportSite& /*site*/,
                                                       std::int64_t /*most_bytes*/) {
  return nullptr;
}
std::string nccl_version() { return "no"; }
#endif

}  // namespace lockstep::comm
