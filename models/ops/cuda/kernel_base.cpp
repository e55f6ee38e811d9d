#include "models/ops/cuda/kernel_base.h"

#include "models/ops/work.h"

namespace lockstep::models::cuda {

const Shape& Site::output() const {
  return request.graph->values()[static_cast<std::size_t>(last().output)].shape;
}

CudaKernel::CudaKernel(const Site& site) : CudaKernel(site, site.options.compute) {}

CudaKernel::CudaKernel(const Site& site, Dtype output_dtype)
    : CudaKernel(site, activation(site.output(), output_dtype)) {}

CudaKernel::CudaKernel(const Site& site, TensorLayout output)
    : output_(std::move(output)),
      work_(work_of(site.request, size_of(site.options.compute))),
      device_(site.options.device),
      compute_(site.options.compute) {}

}  // namespace lockstep::models::cuda
