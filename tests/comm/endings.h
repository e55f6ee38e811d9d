// Runs a program under mpirun and tells how the job ended.
#pragma once

#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/support/scratch_directory.h"

namespace lockstep::testing {

struct Ending {
  int exit_code = -1;
  double seconds = 0;
  std::string output;
  [[nodiscard]] bool says(const std::string& text) const { return output.find(text) != std::string::npos; }
  [[nodiscard]] int count(const std::string& text) const {
    int found = 0;
    for (auto at = output.find(text); at != std::string::npos; at = output.find(text, at + 1)) ++found;
    return found;
  }
};

/// Runs the ranks under mpirun, which has a directory of its own: those that start and end at once would
/// take a common one from each other. `timeout` is the guard of this test itself (124: the job hung).
inline Ending run_ranks(const std::string& program, int ranks, const std::string& arguments) {
  const ScratchDirectory scratch;
  const std::string command =
      "OMPI_MCA_orte_tmpdir_base=" + scratch.path() +
      " OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 timeout "
      "-k 5 60 " LOCKSTEP_MPIEXEC " --oversubscribe --bind-to none -n " +
      std::to_string(ranks) + " " + program + " " + arguments + " 2>&1";
  const auto begin = std::chrono::steady_clock::now();
  Ending ending;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return ending;
  std::array<char, 4096> part{};
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe))
    ending.output.append(part.data(), got);
  const int status = pclose(pipe);
  ending.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  ending.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return ending;
}

}  // namespace lockstep::testing
