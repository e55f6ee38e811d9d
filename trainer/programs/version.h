// What `lockstep --version` prints.
#pragma once

#include <string>

namespace lockstep::programs {

/// The version, then a line for each library that the program runs with, and for the compiler.
[[nodiscard]] std::string version_text();

}  // namespace lockstep::programs
