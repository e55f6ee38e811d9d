#include "comm/transport/launcher.h"

#include <spdlog/fmt/fmt.h>

#include <cstdlib>

#include "comm/worlds.h"
#include "core/error.h"

namespace lockstep::comm {

void check_launcher(int ranks, const std::function<const char*(const char*)>& variable) {
  for (const char* started_by_mpirun : {"OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS"}) {
    if (variable(started_by_mpirun) != nullptr) return;
  }
  const char* of_step = variable("SLURM_STEP_NUM_TASKS");
  const char* tasks = of_step != nullptr ? of_step : variable("SLURM_NTASKS");
  if (tasks == nullptr || std::atoi(tasks) <= ranks) return;
  throw Error(
      Fault::communication, fmt::format("Slurm started {} tasks but MPI sees {} rank(s)", tasks, ranks),
      "start the program with 'srun --mpi=pmix' or with 'mpirun'; alone in a Slurm job use 'srun -n 1'");
}

int launched_rank(const std::function<const char*(const char*)>& variable) {
  for (const char* of : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const char* rank = variable(of); rank != nullptr) return std::atoi(rank);
  }
  return 0;
}

int launched_rank() {
  return launched_rank([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace lockstep::comm
