#include "tests/programs/shell.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/trainer/tiny_run.h"

namespace lockstep::programs {

Ran shell(const std::string& command, int limit_s) {
  const ScratchDirectory scratch, sessions;  // the command sees only its own files
  const std::string script = scratch.path() + "/script.sh";
  std::ofstream(script)
      << "export L=" LOCKSTEP_PROGRAM "\n"
      << "export MPI='" LOCKSTEP_MPIEXEC " --oversubscribe --bind-to none'\n"
      << "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1\n"
      << "export OMPI_MCA_orte_tmpdir_base=" << sessions.path() << "\n"
      << "cd " << scratch.path() << "\n"
      << command << "\n";
  const std::string line = "timeout -k 5 " + std::to_string(limit_s) + " bash " + script + " 2>&1";
  FILE* pipe = popen(line.c_str(), "r");
  Ran ran;
  std::array<char, 4096> block{};
  for (std::size_t got; (got = fread(block.data(), 1, block.size(), pipe)) > 0;)
    ran.output.append(block.data(), got);
  const int status = pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

std::string hash_in(const std::string& output) {
  const std::string mark = "hash     parameters ";
  const std::size_t at = output.rfind(mark);
  return at == std::string::npos ? "" : output.substr(at + mark.size(), 16);
}

}  // namespace lockstep::programs
