// The registry of backends: the only C++ that knows which device folders are built.
#include "core/backends.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace lockstep {

namespace {

constexpr std::array kBackends = {
    &host_backend,
#ifdef LOCKSTEP_WITH_CUDA
    &cuda_backend,
#endif
};

}  // namespace

const Backend& backend_of(Device device) {
  for (const Backend* backend : kBackends) {
    if (backend->kind == device.kind) return *backend;
  }
  throw Error(Fault::device, "device '" + name_of(device) + "' was asked for, but this build has no CUDA",
              "set 'device: cpu', or build with the preset 'cuda'");
}

bool is_built(DeviceKind kind) noexcept {
  return std::ranges::any_of(kBackends, [=](const Backend* backend) { return backend->kind == kind; });
}

}  // namespace lockstep
