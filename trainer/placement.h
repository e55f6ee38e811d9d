// Which device a rank computes on: by the config, by what the build and the machine have, and by the rank's
// place on its node.
#pragma once

#include <string>

#include "comm/transport.h"
#include "core/device.h"
#include "core/options.h"

namespace lockstep::trainer {

/// The models' backend that `device` names; `auto` is "cuda" when this build has it and a GPU is visible,
/// else "cpu".
[[nodiscard]] std::string backend_for(const Config& config);

/// The settings of that backend: those of the device named, or, where `auto` found a GPU, of `cuda`.
[[nodiscard]] Options device_settings(const Config& config);

/// Collective. The device of this rank: the host, or the GPU of its place on the node. Throws Fault::device
/// with the cure, on every rank, when ranks of a node would share a GPU, when there are too few, or when
/// ranks differ in what they compute on.
[[nodiscard]] Device device_of(const Config& config, comm::World& world);

/// The same for a lone process without peers: a plan, a measurement.
[[nodiscard]] Device lone_device(const Config& config);

}  // namespace lockstep::trainer
