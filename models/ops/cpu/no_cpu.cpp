// Stands for the CPU operations in a build without oneDNN.
#include "core/error.h"
#include "models/ops/cpu/backend.h"

namespace lockstep::models {

std::unique_ptr<Backend> make_cpu_backend(const BackendOptions&) {
  throw Error(Fault::device, "this build has no CPU operations, because oneDNN was not found",
              "install libdnnl-dev and ocl-icd-opencl-dev, then configure and build again");
}

std::string onednn_version() { return "no"; }

}  // namespace lockstep::models
