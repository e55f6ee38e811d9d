#include "trainer/programs/version.h"

#include <spdlog/fmt/fmt.h>

#include "comm/device_transport.h"
#include "comm/worlds.h"
#include "core/backends.h"
#include "data/info.h"
#include "models/ops/cpu/backend.h"
#include "models/versions.h"

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
      "{}"
      "  NCCL      {}\n"
      "  compiler  {}\n";
  std::string libraries;
  for (const auto& [name, version] : models::cuda_libraries())
    libraries += fmt::format("  {:<9} {}\n", name, version);
  return fmt::format(kText, LOCKSTEP_VERSION, comm::mpi_library(), data::hdf5_version(),
                     models::onednn_version(),
                     is_built(DeviceKind::cuda) ? backend_of({DeviceKind::cuda, 0}).versions() : "no",
                     libraries, comm::nccl_version(), compiler());
}

}  // namespace lockstep::programs
