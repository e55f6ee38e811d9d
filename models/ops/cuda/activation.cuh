// Activations as device functions: alone in activation.cu, and at the end of fused kernels.
#pragma once

#include "models/ops/epilogue.h"

namespace lockstep::models::cuda {

#ifdef __CUDACC__
inline constexpr float kRootTwoOverPi = 0.7978845608028654F;
inline constexpr float kGeluCubic = 0.044715F;
inline constexpr float kRootHalf = 0.7071067811865476F;
inline constexpr float kRootTwoPiInverse = 0.3989422804014327F;

__device__ __forceinline__ float activated(float x, const Epilogue& e) {
  switch (e.activation) {
    case Activation::relu:
      return fmaxf(x, 0.0F);
    case Activation::leaky_relu:
      return x > 0 ? x : e.slope * x;
    case Activation::gelu_tanh:
      return 0.5F * x * (1.0F + tanhf(kRootTwoOverPi * (x + kGeluCubic * x * x * x)));
    case Activation::gelu_exact:
      return 0.5F * x * (1.0F + erff(x * kRootHalf));
    default:
      return x;
  }
}

/// Derivative; `seen` is the input or the output as reads_input() says.
__device__ __forceinline__ float slope_at(float seen, const Epilogue& e) {
  switch (e.activation) {
    case Activation::relu:
      return seen > 0 ? 1.0F : 0.0F;
    case Activation::leaky_relu:
      return seen > 0 ? 1.0F : e.slope;
    case Activation::gelu_tanh: {
      const float t = tanhf(kRootTwoOverPi * (seen + kGeluCubic * seen * seen * seen));
      return 0.5F * (1.0F + t) +
             0.5F * seen * (1.0F - t * t) * kRootTwoOverPi * (1.0F + 3.0F * kGeluCubic * seen * seen);
    }
    case Activation::gelu_exact:
      return 0.5F * (1.0F + erff(seen * kRootHalf)) + seen * kRootTwoPiInverse * expf(-0.5F * seen * seen);
    default:
      return 1.0F;
  }
}
#endif

}  // namespace lockstep::models::cuda
