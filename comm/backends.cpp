// The table of transports by device: the only C++ of this floor that knows which device folders are built.
#include "comm/device_transport.h"

#include <span>
#include <utility>

#include "comm/device_messages.h"
#ifdef LOCKSTEP_WITH_CUDA
#include "comm/nccl/nccl.h"
#include "comm/peer/peer.h"
#endif

namespace lockstep::comm {

namespace {

MessagePath path_of(const Options& options, const World& world) {
  constexpr auto kKey = "gpu_messages";
  return message_path(options.text(kKey), world.takes_gpu_memory(), options.where(kKey));
}

std::unique_ptr<Transport> make_world_transport(const Options& options, World& world,
                                                const TransportSite& site) {
  if (site.device.kind == DeviceKind::cpu) return world.transport(site.deadline_s);
  const MessagePath path = path_of(options, world);
  return make_device_messages(world.transport(site.deadline_s), site.device, path);
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

constexpr Setting kMinCtas = {"min_ctas", SettingType::integer, "0",
                              "fewest thread blocks (multiprocessors) NCCL uses; 0: its own choice",
                              "[0,64]"};
constexpr Setting kMaxCtas = {"max_ctas", SettingType::integer, "0",
                              "most thread blocks NCCL uses; 0: its own choice", "[0,64]"};
constexpr Setting kRegister = {"register", SettingType::boolean, "true",
                               "lend the gradient array registered memory (symmetric windows)"};
constexpr Setting kGpuMessages = {"gpu_messages", SettingType::text, "auto",
                                  "how MPI moves GPU memory: direct (CUDA-aware MPI), staged through "
                                  "page-locked memory, or auto: direct where MPI can",
                                  "auto|direct|staged"};
constexpr Setting kNccl[] = {kMinCtas, kMaxCtas, kRegister};
constexpr Setting kMpi[] = {kGpuMessages};
constexpr Setting kAutomatic[] = {kMinCtas, kMaxCtas, kRegister, kGpuMessages};

bool automatic_is_nccl(const World& world, DeviceKind kind) {
  return kHasNccl && kind == DeviceKind::cuda && world.size() > 1;
}

std::unique_ptr<Transport> make_automatic(const Options& options, World& world, const TransportSite& site) {
  return automatic_is_nccl(world, site.device.kind) ? kMakeNccl(options, world, site)
                                                    : make_world_transport(options, world, site);
}

constexpr TransportRegistry::Row kRows[] = {
    {"auto", "NCCL between GPUs when this build has it, else MPI", kAutomatic, make_automatic},
    {"mpi", "MPI; from and to a GPU directly where it is CUDA-aware, else through page-locked host memory",
     kMpi, make_world_transport},
    {"nccl", "NCCL between GPUs", kNccl, kMakeNccl},
};

}  // namespace

const TransportRegistry& transports() {
  static const TransportRegistry kTable("transport", kRows);
  return kTable;
}

std::string gpu_messages_text(std::string_view name, const Options& options, const World& world) {
  if (world.size() == 1) return {};
  if (name == "nccl" || (name == "auto" && automatic_is_nccl(world, DeviceKind::cuda)))
    return "NCCL " + nccl_version();
  return path_of(options, world) == MessagePath::direct ? "MPI, directly" : "MPI through page-locked memory";
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
