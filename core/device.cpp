#include "core/device.h"

namespace lockstep {

std::string name_of(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(device.index);
}

}  // namespace lockstep
