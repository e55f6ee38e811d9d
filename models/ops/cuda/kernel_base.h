// What every kernel of this backend shares: it enqueues on the CUDA stream of the pass; `T` is the device
// type of the compute dtype.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "models/ops/bound_kernel.h"
#include "models/ops/cuda/gradient.h"
#include "models/ops/image_order.h"

struct __nv_bfloat16;
struct __half;

namespace lockstep::models::cuda {

class CudaKernel : public BoundKernel {
 protected:
  explicit CudaKernel(const Site& site);
  /// A loss: f32 rows whatever the compute dtype.
  CudaKernel(const Site& site, Dtype output_dtype);
  CudaKernel(const Site& site, TensorLayout output);

  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] Dtype compute() const noexcept { return compute_; }
  /// Where the gradient of slot `i` goes in this pass.
  [[nodiscard]] GradientSlot gradient_slot(const Pass& pass, std::size_t i) const {
    return {slot<void>(pass.gradients, i), pass.gradients.dtype == Dtype::bf16, pass.accumulate};
  }

 private:
  Device device_;
  Dtype compute_;
};

/// Makes Kernel<T> with the device type of the site's compute dtype. Only in .cu files.
template <template <class> class K, class... Args>
[[nodiscard]] std::unique_ptr<Kernel> make_typed(const Site& site, const Args&... args) {
  if (site.options.compute == Dtype::bf16) return std::make_unique<K<__nv_bfloat16>>(site, args...);
  if (site.options.compute == Dtype::f16) return std::make_unique<K<__half>>(site, args...);
  return std::make_unique<K<float>>(site, args...);
}

}  // namespace lockstep::models::cuda
