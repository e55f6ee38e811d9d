// The "cpu" backend: operations on oneDNN. CMake builds either this folder or no_cpu.cpp.
#pragma once

#include <memory>

#include "models/ops/kernel.h"

namespace lockstep::models {

/// Throws Fault::device with the cure when this build has no oneDNN, or when the CPU lacks the compute dtype.
[[nodiscard]] std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options);

}  // namespace lockstep::models
