// Where memory lives and work runs.
#pragma once

#include <cstdint>
#include <string>

namespace lockstep {

enum class DeviceKind : std::uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

/// "cpu" or "cuda:1".
[[nodiscard]] std::string name_of(Device device);

}  // namespace lockstep
