// Which GPUs this process may use, and which CUDA it runs with.
#pragma once

#include <string>

#include "core/device.h"

namespace lockstep::cuda {

/// How many; 0 with the reason in `why`.
[[nodiscard]] int visible_devices(std::string& why);
/// The same for one GPU in every process, whatever its mask.
[[nodiscard]] std::string identity_of(Device device);
/// "NVIDIA H200".
[[nodiscard]] std::string model_of(Device device);
/// "13.0" for 13000.
[[nodiscard]] std::string cuda_version(int number);
/// "13.0, found 13.0, driver for 13.0": built with, and what the machine has.
[[nodiscard]] std::string versions();

}  // namespace lockstep::cuda
