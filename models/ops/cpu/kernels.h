// One maker per operation of this backend. Each reads its settings from the request's node; `fused` nodes are
// those that fusion.cpp accepted.
#pragma once

#include <memory>

#include "models/ops/cpu/kernel_base.h"

namespace lockstep::models::cpu {

[[nodiscard]] std::unique_ptr<Kernel> make_convolution(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_linear(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_tied_linear(const Site& site);
/// Fused: an Add before, a Relu at the end.
[[nodiscard]] std::unique_ptr<Kernel> make_batch_norm(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_layer_norm(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_activation(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_max_pool(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_average_pool(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_global_pool(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_dropout(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_embedding(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_position_embedding(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_attention(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_add(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_concat(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_shortcut_a(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_flatten(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_resize(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_softmax_cross_entropy(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_mean_squared_error(const Site& site);
[[nodiscard]] std::unique_ptr<Kernel> make_smooth_l1(const Site& site);

}  // namespace lockstep::models::cpu
