// Causal attention by own softmax kernels between products: any head, dtype and dropout.
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

}  // namespace lockstep::models::cuda
