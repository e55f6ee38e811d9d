// Details of the MPI transport that only tests change.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/transport.h"

namespace lockstep::comm {

struct MpiOptions {
  /// The most bytes of one MPI message; longer ones are split, because MPI counts are `int`.
  std::int64_t piece_bytes = std::int64_t{1} << 30;
  /// How long a rank that is done waits for the others before it gives up on an orderly end.
  double farewell_s = 60;
};
/// make_mpi_world() of worlds.h with these details.
[[nodiscard]] std::unique_ptr<World> make_mpi_world(int* argc, char*** argv, const MpiOptions& options);

}  // namespace lockstep::comm
