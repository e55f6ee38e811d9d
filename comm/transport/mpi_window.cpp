// Memory that all ranks of a node reach: MPI shared windows.
#include <cstring>
#include <filesystem>

#include "comm/transport/mpi_job.h"

namespace lockstep::comm {
namespace {

/// Collective. Whether the node has room for a window where MPI libraries put it on Linux. A container has 64
/// MiB there unless told otherwise, and Open MPI ends the job over a window that does not fit.
bool has_room(MPI_Comm comm, std::size_t bytes_per_rank) {
  constexpr std::size_t kSlack = 1 << 20;  // of the library's own
  int rank = 0, ranks = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &ranks);
  int room = 1;
  if (rank == 0) {
    std::error_code none;
    const auto space = std::filesystem::space("/dev/shm", none);
    room = none || space.available >= bytes_per_rank * static_cast<std::size_t>(ranks) + kSlack ? 1 : 0;
  }
  check_mpi(MPI_Bcast(&room, 1, MPI_INT, 0, comm), "MPI_Bcast");
  return room != 0;
}

}  // namespace

std::vector<std::byte*> share_window(MpiJob& job, MPI_Comm comm, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;  // so that every rank's part begins at a page of its own
  if (!has_room(comm, bytes + kPage)) return {};
  const auto whole = static_cast<MPI_Aint>((bytes + kPage - 1) / kPage * kPage);
  void* mine = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  check_mpi(MPI_Win_allocate_shared(whole, 1, MPI_INFO_NULL, comm, &mine, &window),
            "MPI_Win_allocate_shared");
  {
    const std::lock_guard lock(job.windows_mutex);
    job.windows.push_back(window);
  }
  std::memset(mine, 0,
              static_cast<std::size_t>(whole));  // by its owner: pages lie near the core that uses them
  int ranks = 0;
  MPI_Comm_size(comm, &ranks);
  std::vector<std::byte*> blocks;
  for (int rank = 0; rank < ranks; ++rank) {
    MPI_Aint size = 0;
    int unit = 0;
    void* first = nullptr;
    check_mpi(MPI_Win_shared_query(window, rank, &size, &unit, &first), "MPI_Win_shared_query");
    blocks.push_back(static_cast<std::byte*>(first));
  }
  check_mpi(MPI_Barrier(comm), "MPI_Barrier");  // nobody uses a part that its owner has not cleared
  return blocks;
}

}  // namespace lockstep::comm
