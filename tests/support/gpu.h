// Tests that need a GPU skip themselves, saying why, where none is visible.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/backends.h"

/// First line of a test that needs a GPU.
#define LOCKSTEP_NEEDS_VISIBLE_GPU() \
  if (std::string why; lockstep::visible_devices(lockstep::DeviceKind::cuda, why) == 0) GTEST_SKIP() << why

namespace lockstep {
inline constexpr Device kGpu{DeviceKind::cuda, 0};
}
