// Causal attention's two ways: own softmax between products (any head, dtype and dropout), and cuDNN's fused
// kernels (bf16 and f16, heads of a multiple of 8 up to 128; dropout by masks of our own).
#pragma once

#include <memory>

#include "models/ops/cuda/kernel_base.h"

namespace lockstep::models::cuda {

/// qkv [samples, time, 3 width] with q, k, v one after another; y [samples, time, width].
struct AttentionShape {
  std::int64_t samples, time, heads, depth;
  [[nodiscard]] std::int64_t width() const { return heads * depth; }
};
[[nodiscard]] AttentionShape attention_shape(const Site& site);

[[nodiscard]] std::unique_ptr<Kernel> make_attention_products(const Site& site);
/// Null where cuDNN has no kernel for it.
[[nodiscard]] std::unique_ptr<Kernel> make_attention_cudnn(const Site& site);

}  // namespace lockstep::models::cuda
