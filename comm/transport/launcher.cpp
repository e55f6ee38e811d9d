#include "comm/transport/launcher.h"

#include <spdlog/fmt/fmt.h>

#include <cstdlib>

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

}  // namespace lockstep::comm
