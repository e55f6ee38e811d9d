// Memory that all ranks of a node reach: MPI shared windows.
#include <cstring>

#include "comm/transport/mpi_job.h"

namespace lockstep::comm {

std::vector<std::byte*> share_window(MpiJob& job, MPI_Comm comm, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;  // so that every rank's part begins at a page of its own
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
