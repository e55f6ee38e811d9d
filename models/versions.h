// Which libraries the backends run with, for --version.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lockstep::models {

/// Name and "built with, found" of the GPU backend's libraries; empty in a build without one.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> cuda_libraries();

}  // namespace lockstep::models
