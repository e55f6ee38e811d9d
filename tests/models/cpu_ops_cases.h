// What the tests of the CPU backend's operations share: a case is a small graph around one operation, and
// every case of the suite CpuOps is held to the same promises (cpu_ops_test.cpp). The cases lie beside, by
// subject.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cpu_twin.h"

namespace lockstep::models::testing {

struct OpCase {
  std::string name;
  BuildGraph build;
  std::int64_t microbatch = 3;
  double tolerance = 1e-5;
};

/// An operation on an image or a sequence behind parameters, judged by the squared error of its output.
[[nodiscard]] OpCase on_image(const std::string& name, const Shape& sample, const OpSpec& spec);
[[nodiscard]] OpCase on_sequence(const std::string& name, const Shape& sample, const OpSpec& spec);

/// For GoogleTest.
void PrintTo(const OpCase& op, std::ostream* out);
[[nodiscard]] std::string name_of_case(const ::testing::TestParamInfo<OpCase>& info);

class CpuOps : public ::testing::TestWithParam<OpCase> {};

}  // namespace lockstep::models::testing
