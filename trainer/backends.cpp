// The devices that this build can train on: the only C++ of the trainer that knows which folders are built.
#include "trainer/backends.h"

#include <array>

#include "core/error.h"
#include "trainer/cpu/kernels.h"
#ifdef LOCKSTEP_WITH_CUDA
#include "trainer/cuda/kernels.h"
#endif

namespace lockstep::trainer {

namespace {

constexpr std::array kRows{
    DeviceKernels{DeviceKind::cpu, &cpu_step_kernels, make_cpu_updater},
#ifdef LOCKSTEP_WITH_CUDA
    DeviceKernels{DeviceKind::cuda, &cuda_step_kernels, make_cuda_updater},
#endif
};

}  // namespace

const DeviceKernels& device_kernels(Device device) {
  for (const DeviceKernels& row : kRows) {
    if (row.kind == device.kind) return row;
  }
  throw Error(Fault::device, "this build cannot train on " + name_of(device),
              "set 'device: cpu', or build with the preset 'cuda'");
}

}  // namespace lockstep::trainer
