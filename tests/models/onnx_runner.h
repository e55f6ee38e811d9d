// Runs an ONNX case on a backend: maps the operator to a one-node graph, its weights to parameters. Where
// ONNX is more general (any axis, batched matrices), the case is viewed as what our operation computes: a
// permutation or slice on the host, never arithmetic.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "onnx_cases.h"

namespace lockstep::models::testing {

/// Why our operations cannot express a case; empty when they can.
[[nodiscard]] std::string why_not_applicable(const OnnxCase& each);

/// The first output as the backend computes it.
[[nodiscard]] std::vector<double> run_onnx_case(const OnnxCase& each, std::string_view backend);

}  // namespace lockstep::models::testing
