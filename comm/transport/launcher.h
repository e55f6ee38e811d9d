// What the launcher told this process, and whether MPI agrees on the number of ranks.
#pragma once

#include <functional>

namespace lockstep::comm {

/// Throws Fault::communication when Slurm started more tasks than MPI sees ranks, which happens when MPI was
/// built without support for `srun`: every task then believes to be alone. `variable` looks up the
/// environment as it was before MPI started (null: not set). Ranks started by mpirun inside a Slurm job are
/// counted by mpirun.
void check_launcher(int ranks, const std::function<const char*(const char*)>& variable);

/// The rank that mpirun or srun told this process, 0 without a launcher: known before MPI starts.
[[nodiscard]] int launched_rank(const std::function<const char*(const char*)>& variable);

}  // namespace lockstep::comm
