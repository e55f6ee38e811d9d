// A convolution as cuDNN's operation graph of one node.
#pragma once

#include <cudnn.h>

#include "models/ops/cuda/convolution_plan.h"
#include "models/ops/cuda/cudnn_descriptor.h"

namespace lockstep::models::cuda {

/// Names of the tensors in a variant pack.
enum Uid : std::int64_t { kImage = 1, kWeight = 2, kResult = 3 };

/// Throws Refused for a geometry that cuDNN cannot describe.
[[nodiscard]] Descriptor graph_of(const ConvolutionRequest& request, cudnnHandle_t handle);

}  // namespace lockstep::models::cuda
