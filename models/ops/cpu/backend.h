// The "cpu" backend: operations on oneDNN. CMake builds either this folder or no_cpu.cpp.
#pragma once

#include <memory>
#include <string>

#include "models/ops/kernel.h"

namespace lockstep::models {

/// Throws Fault::device with the cure when this build has no oneDNN, or when the CPU lacks the compute dtype.
[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options);

/// "2.6.2": the oneDNN that the program runs with; "no" without it.
[[nodiscard]] std::string onednn_version();

}  // namespace lockstep::models
