// The "reference" backend: every operation as plain loops over dense tensors, in float or double. It is the
// judge of the fast backends; nothing in it is tuned.
#pragma once

#include <memory>

#include "models/ops/kernel.h"

namespace lockstep::models {

/// Computes in float, or in double for gradient checks: then activations, flat arrays and host elements are
/// f64. Throws Fault::config when `options.compute` is not f32.
template <class T>
[[nodiscard]] std::unique_ptr<Backend> make_reference_backend(const BackendOptions& options);

}  // namespace lockstep::models
