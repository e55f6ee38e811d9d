#include "trainer/placement.h"

#include <cstddef>
#include <vector>

#include "comm/collectives.h"
#include "core/backends.h"
#include "core/error.h"

namespace lockstep::trainer {

namespace {

/// The GPU with a place among `visible` ones for local rank `rank` of `ranks`.
int pick_gpu(const Options& settings, int visible, int rank, int ranks, const std::string& host) {
  const auto wanted = static_cast<int>(settings.integer("index"));
  if (wanted >= visible) {
    throw Error(Fault::device,
                "device.cuda.index is " + std::to_string(wanted) + ", but " + host + " shows " +
                    std::to_string(visible) + " GPU(s), counted from 0",
                "set it to less, or to -1 to take the GPU of the rank's place on its node");
  }
  if (wanted >= 0) return wanted;
  if (visible == 1) return 0;  // a launcher may show every rank its own
  if (rank < visible) return rank;
  if (settings.boolean("share")) return rank % visible;
  throw Error(
      Fault::device,
      host + " runs " + std::to_string(ranks) + " ranks but shows " + std::to_string(visible) +
          " GPUs: one rank takes one GPU",
      "start " + std::to_string(visible) + " ranks on this node, or let CUDA_VISIBLE_DEVICES show more GPUs");
}

/// The device of local rank `rank` of `ranks`.
Device place(const Config& config, int rank, int ranks, const std::string& host) {
  if (backend_for(config) != "cuda") return {};
  std::string why;
  const int visible = visible_devices(DeviceKind::cuda, why);
  if (visible == 0) {
    throw Error(Fault::device, "device cuda was asked for on " + host + ", but " + why,
                is_built(DeviceKind::cuda) ? "check nvidia-smi and CUDA_VISIBLE_DEVICES, or set device: cpu"
                                           : "set device: cpu, or build with the preset 'cuda'");
  }
  return {DeviceKind::cuda, pick_gpu(device_settings(config), visible, rank, ranks, host)};
}

/// What a rank tells the others: where it computes, or why it cannot.
struct Place {
  std::string host, identity;
};

void refuse_sharing(const std::vector<Place>& places, bool allowed) {
  for (std::size_t a = 0; a < places.size(); ++a) {
    if ((places[a].identity == "cpu") != (places[0].identity == "cpu")) {
      throw Error(Fault::device,
                  "rank 0 on " + places[0].host + " computes on " + places[0].identity + ", but rank " +
                      std::to_string(a) + " on " + places[a].host + " on " + places[a].identity,
                  "set device: cpu, or device: cuda on nodes that all have GPUs");
    }
    for (std::size_t b = 0; b < a && !allowed; ++b) {
      if (places[a].identity == "cpu" || places[a].host != places[b].host ||
          places[a].identity != places[b].identity)
        continue;
      throw Error(Fault::device,
                  "ranks " + std::to_string(b) + " and " + std::to_string(a) + " share " +
                      places[a].identity + " of " + places[a].host,
                  "start fewer ranks on this node, or let CUDA_VISIBLE_DEVICES show every rank a GPU of its "
                  "own; device.cuda.share: true allows it, for trying things out");
    }
  }
}

}  // namespace

std::string backend_for(const Config& config) {
  std::string device = config.part_name("device");
  if (device != "auto") return device;
  std::string why;
  return visible_devices(DeviceKind::cuda, why) > 0 ? "cuda" : "cpu";
}

Options device_settings(const Config& config) {
  const std::string backend = backend_for(config);
  return config.part("device", backend == "cuda" ? backend : config.part_name("device"));
}

Device device_of(const Config& config, comm::World& world) {
  const Device device = place(config, world.local_rank(), world.local_size(), world.host());
  const std::string named = config.part_name("device");
  if (world.size() == 1 || !is_built(DeviceKind::cuda) || (named != "auto" && named != "cuda")) return device;
  comm::Control control(comm::make_collectives(world.transport(config.section("run").real("deadline_s")),
                                               comm::schedules().create("recursive_doubling", Options())));
  const std::vector<std::string> hosts = control.gather(world.host());
  const std::vector<std::string> identities = control.gather(backend_of(device).identity(device));
  std::vector<Place> places;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) places.push_back({hosts[rank], identities[rank]});
  refuse_sharing(places, device.kind == DeviceKind::cuda && device_settings(config).boolean("share"));
  return device;
}

Device lone_device(const Config& config) { return place(config, 0, 1, "this machine"); }

}  // namespace lockstep::trainer
