// Which plans a convolution's kernel runs: one per direction, the dtype of the weight gradient, how an input
// gradient is added, and whether the image is folded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "models/ops/cuda/convolution_plan.h"
#include "models/ops/cuda/folding.h"
#include "models/ops/cuda/kernel_base.h"

namespace lockstep::models::cuda {

/// The settings that plain and transposed convolutions share. A transposed one is a convolution from its
/// output to its input run backwards.
struct ConvolutionSettings {
  ConvolutionGeometry geometry;
  bool bias = false, transposed = false;
};
[[nodiscard]] ConvolutionSettings convolution_settings(const Site& site);

/// Those that training alone needs are null without it.
class ConvolutionPlans {
 public:
  ConvolutionPlans(const Site& site, const ConvolutionSettings& settings);

  ConvolutionPlanPtr forward, input_gradient, weight_gradient;
  ConvolutionPlanPtr adding;  ///< adds the input gradient to what is there; null: sum afterwards
  Dtype weight_gradient_dtype = Dtype::f32;
  ConvolutionGeometry geometry;    ///< what the plans convolve
  std::optional<Folding> folding;  ///< how the image becomes that, when it must

  [[nodiscard]] std::size_t workspace_bytes() const;
  /// Of one pass each way, where plans were timed.
  [[nodiscard]] double measured_ms() const;

 private:
  [[nodiscard]] ConvolutionPlanPtr find(Direction direction) const;
  void choose_weight_gradient();
  [[nodiscard]] double converting_ms() const;
  void choose_adding(Direction direction);

  ConvolutionRequest request_;
  Dtype gradients_;  ///< of the gradient array
};

/// Folded where that makes the first convolution of a network fast.
[[nodiscard]] ConvolutionPlans choose_plans(const Site& site, const ConvolutionSettings& settings);

}  // namespace lockstep::models::cuda
