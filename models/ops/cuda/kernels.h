// One maker per operation of this backend. Each reads its settings from the request's node; `fused` nodes are
// those that accepts() in backend.cpp let through.
#pragma once

#include <memory>

#include "models/ops/cuda/kernel_base.h"

namespace lockstep::models::cuda {

[[nodiscard]] std::unique_ptr<Kernel> make_activation(const Site& site);

}  // namespace lockstep::models::cuda
