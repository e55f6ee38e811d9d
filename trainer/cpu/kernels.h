// The trainer's kernels on this kind of device.
#pragma once

#include <memory>

#include "trainer/optim/updater.h"
#include "trainer/step_kernels.h"

namespace lockstep::trainer {

extern const StepKernels cpu_step_kernels;
[[nodiscard]] std::unique_ptr<Updater> make_cpu_updater(const SlotLayout& layout, Device device);

}  // namespace lockstep::trainer
