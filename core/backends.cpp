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

const Backend* find(DeviceKind kind) noexcept {
  const auto found = std::ranges::find_if(kBackends, [=](const Backend* each) { return each->kind == kind; });
  return found == kBackends.end() ? nullptr : *found;
}

}  // namespace

const Backend& backend_of(Device device) {
  if (const Backend* backend = find(device.kind)) return *backend;
  throw Error(Fault::device, "device '" + name_of(device) + "' was asked for, but this build has no CUDA",
              "set 'device: cpu', or build with the preset 'cuda'");
}

bool is_built(DeviceKind kind) noexcept { return find(kind) != nullptr; }

int visible_devices(DeviceKind kind, std::string& why) {
  const Backend* backend = find(kind);
  if (backend != nullptr) return backend->visible(why);
  why = "this build has no CUDA";
  return 0;
}

bool can_record(Device device) { return backend_of(device).record != nullptr; }

std::unique_ptr<Recording> record_work(Stream& stream, const std::function<void()>& enqueue) {
  const Backend& backend = backend_of(stream.device());
  if (backend.record == nullptr)
    throw Error(Fault::internal, "streams of " + name_of(stream.device()) + " cannot be recorded");
  return backend.record(stream, enqueue);
}

}  // namespace lockstep
