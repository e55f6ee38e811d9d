// One training pass of a model's tiny task on any backend, and what two passes must have in common.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model_cases.h"

namespace lockstep::models {

/// What one training pass gives, in canonical order.
struct Outcome {
  double loss = 0;
  std::uint64_t parameter_hash = 0, state_hash = 0;
  std::vector<float> prediction;
  std::map<std::string, std::vector<float>> gradients;
};

struct How {
  const char* backend = "cpu";
  Dtype compute = Dtype::f32;
  int threads = 1;
  bool tune = false;
  Dtype gradients = Dtype::f32;
};

/// One training pass from the initial values.
[[nodiscard]] Outcome train_once(const How& how, std::string_view model, const Case& which);

/// f32 against the reference: the loss to 1e-4, every gradient to 2e-3 of its length.
void expect_same_training(const Outcome& got, const Outcome& expected);
/// 16 bits against f32: the gradients point the same way and are as long.
void expect_same_direction(const Outcome& narrow, const Outcome& wide);
/// Gradients kept in bf16 against the same pass with f32 ones: each to bf16's rounding, and really rounded.
void expect_rounded_gradients(const Outcome& narrow, const Outcome& wide);

}  // namespace lockstep::models
