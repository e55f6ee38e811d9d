// The world of a test program that runs whole under mpirun.
#pragma once

#include "comm/transport.h"

namespace lockstep::testing {

/// All ranks of this mpirun.
[[nodiscard]] comm::World& mpi_world();

}  // namespace lockstep::testing
