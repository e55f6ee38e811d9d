// The ways to get a World.
#pragma once

#include <functional>
#include <memory>

#include "comm/transport.h"

namespace lockstep::comm {

/// One rank, no peers.
[[nodiscard]] std::unique_ptr<World> make_self_world();

/// Runs `body` once per rank, each on a thread of this process, and waits for all. The first exception
/// (lowest rank among the root causes, not a peer's "rank 2 did not answer") is rethrown after all threads
/// ended. For tests: the same schedules, no launcher.
void run_ranks_as_threads(int ranks, const std::function<void(World&)>& body);

/// Initialises MPI (MPI_THREAD_MULTIPLE) and finalises it when destroyed; one per process. Throws
/// Fault::communication when the launcher started more ranks than MPI sees (SLURM_NTASKS against the
/// communicator's size), naming the cure.
[[nodiscard]] std::unique_ptr<World> make_mpi_world(int* argc, char*** argv);

}  // namespace lockstep::comm
