#include "models/ops/bound_kernel.h"

#include <utility>

#include "models/ops/work.h"

namespace lockstep::models {

BoundKernel::BoundKernel(const Site& site, TensorLayout output)
    : output_(std::move(output)), work_(work_of(site.request, size_of(site.options.compute))) {}

}  // namespace lockstep::models
