// The trainer's kernels on this kind of device.
#pragma once

#include <memory>

#include "trainer/optim/updater.h"
#include "trainer/step_kernels.h"

namespace lockstep::trainer {

extern const StepKernels cuda_step_kernels;
[[nodiscard]] std::unique_ptr<Updater> make_cuda_updater(const SlotLayout& layout, Device device);

}  // namespace lockstep::trainer
