// Versions of cuDNN and cuBLASLt.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lockstep::models {

/// As models/versions.h's cuda_libraries().
[[nodiscard]] std::vector<std::pair<std::string, std::string>> cuda_backend_libraries();

}  // namespace lockstep::models
