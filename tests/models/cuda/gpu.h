// Tests that need a GPU skip themselves, saying why, where none is visible.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "models/ops/kernel.h"

namespace lockstep::models::testing {

/// Empty when a GPU can be used, else what stands against it.
inline std::string why_no_gpu() {
  try {
    (void)make_backend("cuda", {.sum = {}});
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace lockstep::models::testing

/// First line of a test that needs a GPU.
#define LOCKSTEP_NEEDS_GPU() \
  if (const std::string why = lockstep::models::testing::why_no_gpu(); !why.empty()) GTEST_SKIP() << why
