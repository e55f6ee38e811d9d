// The ways to get a World.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/transport.h"

namespace lockstep::comm {

/// One rank, no peers.
[[nodiscard]] std::unique_ptr<World> make_self_world();

/// Runs `body` once per rank, each on a thread of this process, and waits for all. The first exception
/// (lowest rank among the root causes, not a peer's "rank 2 did not answer") is rethrown after all threads
/// ended. For tests: the same schedules, no launcher. A topology of several nodes makes them believe to be
/// there.
void run_ranks_as_threads(const Topology& topology, const std::function<void(World&)>& body);

/// Initialises MPI (MPI_THREAD_MULTIPLE) and finalises it when destroyed; one per process. Throws
/// Fault::communication when the launcher started more ranks than MPI sees (SLURM_NTASKS against the
/// communicator's size), naming the cure.
/// When it is destroyed it waits for all ranks to come there (for at most a minute); while an exception
/// unwinds, or after a transport failed, it leaves MPI as it is: print, then call abort_job().
[[nodiscard]] std::unique_ptr<World> make_mpi_world(int* argc, char*** argv);

/// The rank that the launcher told this process, 0 without one. For programs that have not started MPI.
[[nodiscard]] int launched_rank();

/// "Open MPI 4.1.4": the MPI library that the program runs with. Needs no job.
[[nodiscard]] std::string mpi_library();

/// Ends the whole job at once with `exit_code`, without destructors; for `main` after the message was
/// printed. Flushes the standard streams first (MPI_Abort loses what is buffered). Without MPI it ends this
/// process.
[[noreturn]] void abort_job(int exit_code);

}  // namespace lockstep::comm
