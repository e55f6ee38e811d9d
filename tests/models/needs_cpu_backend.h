// Tests of the cpu backend skip themselves in a build without it, those in bf16 on a processor without that.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "models/ops/kernel.h"

namespace lockstep::models {

/// Empty where the cpu backend computes in `compute`, else what stands against it.
inline std::string why_no_cpu_backend(Dtype compute = Dtype::f32) {
  try {
    BackendOptions options;
    options.compute = compute;
    static_cast<void>(make_backend("cpu", options));
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

class NeedsCpuBackend : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_cpu_backend(); !why.empty()) GTEST_SKIP() << why;
  }
};

#define LOCKSTEP_NEEDS_BF16() \
  if (const std::string why = why_no_cpu_backend(Dtype::bf16); !why.empty()) GTEST_SKIP() << why

}  // namespace lockstep::models
