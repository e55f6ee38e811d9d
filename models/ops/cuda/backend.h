// Operations on an NVIDIA GPU: cuBLASLt for products, cuDNN for convolutions and attention, own kernels where
// memory traffic decides. Images have channels innermost, convolution weights are [K, R, S, C].
#pragma once

#include <memory>

#include "models/ops/kernel.h"

namespace lockstep::models {

/// Throws Fault::device when there is no such GPU, Fault::config for a dtype that it does not compute in.
[[nodiscard]] std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options);

}  // namespace lockstep::models
