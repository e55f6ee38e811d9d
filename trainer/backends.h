// What a device offers to the trainer: the small kernels between backward and the next step, and the updates
// of the optimizers. A new device fills in a row in backends.cpp.
#pragma once

#include <memory>

#include "core/device.h"
#include "core/parameters.h"
#include "trainer/optim/updater.h"
#include "trainer/step_kernels.h"

namespace lockstep::trainer {

struct DeviceKernels {
  DeviceKind kind;
  const StepKernels* step;
  /// The layout must outlive the updater.
  std::unique_ptr<Updater> (*make_updater)(const SlotLayout& layout, Device device);
};

/// Throws Fault::device with the cure when this build has none.
[[nodiscard]] const DeviceKernels& device_kernels(Device device);

}  // namespace lockstep::trainer
