// Runs the real `lockstep` command in a shell and looks at what came out.
#pragma once

#include <string>

namespace lockstep::programs {

struct Ran {
  int code = -1;       ///< exit code of the shell
  std::string output;  ///< stdout and stderr
};

/// Runs `command` with $L as the lockstep program and $MPI as mpirun with what tests need; at most `limit_s`
/// seconds (then code 124).
[[nodiscard]] Ran shell(const std::string& command, int limit_s = 60);

/// The 16 digits after "parameters " in the closing lines, or empty.
[[nodiscard]] std::string hash_in(const std::string& output);

}  // namespace lockstep::programs
