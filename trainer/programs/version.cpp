#include "trainer/programs/version.h"

#include <spdlog/fmt/fmt.h>

#include "comm/worlds.h"
#include "core/backends.h"
#include "data/info.h"
#include "models/ops/cpu/backend.h"

namespace lockstep::programs {

namespace {

/// "g++ 12.2.0" or "clang++ 14.0.6".
std::string compiler() {
#ifdef __clang__
  return "clang++ " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

std::string version_text() {
  constexpr auto kText =
      "lockstep {}\n"
      "  MPI       {}\n"
      "  HDF5      {}\n"
      "  oneDNN    {}\n"
      "  CUDA      {}\n"
      "  compiler  {}\n";
  return fmt::format(kText, LOCKSTEP_VERSION, comm::mpi_library(), data::hdf5_version(),
                     models::onednn_version(), is_built(DeviceKind::cuda) ? "yes" : "no", compiler());
}

}  // namespace lockstep::programs
