#include "models/ops/cuda/kernel_base.h"

#include <utility>

namespace lockstep::models::cuda {

CudaKernel::CudaKernel(const Site& site) : CudaKernel(site, site.options.compute) {}

CudaKernel::CudaKernel(const Site& site, Dtype output_dtype)
    : CudaKernel(site, activation(site.output(), output_dtype)) {}

CudaKernel::CudaKernel(const Site& site, TensorLayout output)
    : BoundKernel(site, std::move(output)), device_(site.options.device), compute_(site.options.compute) {}

}  // namespace lockstep::models::cuda
