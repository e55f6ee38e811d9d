// The devices that this build can compute on: one row per device kind, with everything core/ asks of a
// device. A new device is a folder that fills in a Backend, and one row in backends.cpp; callers use
// stream.h, memory.h and vector.h.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/device.h"
#include "core/memory.h"
#include "core/recording.h"
#include "core/stream.h"
#include "core/stream_clock.h"

namespace lockstep {

namespace vector {
struct Kernels;
}

struct Backend {
  DeviceKind kind;
  std::string_view name;
  std::unique_ptr<Stream> (*make_stream)(Device, const StreamOptions&);
  std::unique_ptr<StreamClock> (*make_stream_clock)(Device);
  /// As memory.h's allocate().
  Memory (*allocate)(Device, std::size_t bytes);
  /// As memory.h's allocate_staging().
  Memory (*allocate_staging)(Device, std::size_t bytes);
  /// Blocking copies between host memory and the device. Streams that use the device's bytes must be idle.
  void (*copy_to_host)(Device, const void* from, void* to, std::size_t bytes);
  void (*copy_from_host)(Device, const void* from, void* to, std::size_t bytes);
  /// As memory.h's copy().
  void (*copy)(const void* from, void* to, std::size_t bytes, Stream& stream);
  /// Makes it the calling thread's device, for libraries that look for one.
  void (*enter)(Device);
  const vector::Kernels* kernels;
  /// Devices of this kind that this process may use; 0 with the reason in `why`.
  int (*visible)(std::string& why);
  /// Names the device alike in every process of its machine.
  std::string (*identity)(Device);
  /// "NVIDIA H200": what kind of device it is.
  std::string (*model)(Device);
  /// Versions of the device's libraries, built with and found.
  std::string (*versions)();
  /// As recording.h's record_work(); null when streams cannot be recorded.
  std::unique_ptr<Recording> (*record)(Stream&, const std::function<void()>&);
};

/// The backend of `device`. Throws Fault::device with the cure when this build has none.
[[nodiscard]] const Backend& backend_of(Device device);

/// True when this build can compute on devices of that kind; whether the machine has one is another matter.
[[nodiscard]] bool is_built(DeviceKind kind) noexcept;

/// Devices of that kind that this process may use; 0 with the reason in `why`, also when none is built.
[[nodiscard]] int visible_devices(DeviceKind kind, std::string& why);

/// Rows of the table; each is defined in its own folder.
extern const Backend host_backend;
extern const Backend cuda_backend;

}  // namespace lockstep
