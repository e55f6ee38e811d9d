// What the tests of a backend's operations share: a case is a small graph around one operation, and every
// backend holds every case to the same promises (cpu_ops_test.cpp, cuda/ops_test.cpp). The cases lie beside,
// by subject.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "twin.h"

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

[[nodiscard]] std::vector<OpCase> convolution_cases();
[[nodiscard]] std::vector<OpCase> activation_cases();
[[nodiscard]] std::vector<OpCase> pooling_cases();
[[nodiscard]] std::vector<OpCase> moving_cases();
[[nodiscard]] std::vector<OpCase> loss_cases();
[[nodiscard]] std::vector<OpCase> sequence_cases();

/// bf16 keeps 8 significant bits: 2^-8 a rounding, and a few roundings between input and result.
[[nodiscard]] double bf16_tolerance(const OpCase& c);

}  // namespace lockstep::models::testing
