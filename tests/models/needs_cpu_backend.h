// Tests of the cpu backend skip themselves in a build without it.
#pragma once

#include <gtest/gtest.h>

#include "core/error.h"
#include "models/ops/kernel.h"

namespace lockstep::models {

class NeedsCpuBackend : public testing::Test {
 protected:
  void SetUp() override {
    try {
      static_cast<void>(make_backend("cpu", {}));
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
};

}  // namespace lockstep::models
