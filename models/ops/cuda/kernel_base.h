// What every kernel of this backend shares: its output, its work and its memory. A kernel enqueues on the
// CUDA stream of the pass; `T` is the device type of the compute dtype.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "models/ops/cuda/gradient.h"
#include "models/ops/image_order.h"
#include "models/ops/kernel.h"

struct __nv_bfloat16;
struct __half;

namespace lockstep::models::cuda {

/// From which a kernel is made.
struct Site {
  const KernelRequest& request;
  const BackendOptions& options;

  [[nodiscard]] const Shape& input(std::size_t i = 0) const { return request.inputs[i].shape; }
  [[nodiscard]] const Shape& output() const;
  [[nodiscard]] const Node& last() const {
    return request.fused.empty() ? *request.node : *request.fused.back();
  }
  /// Nobody computes gradients of the graph's own input.
  [[nodiscard]] bool wants_input_gradient() const {
    return request.node->inputs.front() != request.graph->input();
  }
};

class CudaKernel : public Kernel {
 public:
  [[nodiscard]] TensorLayout output() const final { return output_; }
  [[nodiscard]] Work work() const final { return work_; }
  void bind(const Bindings& bindings) final { bound_ = bindings; }

 protected:
  explicit CudaKernel(const Site& site);
  /// A loss: f32 rows whatever the compute dtype.
  CudaKernel(const Site& site, Dtype output_dtype);
  CudaKernel(const Site& site, TensorLayout output);

  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] Dtype compute() const noexcept { return compute_; }
  [[nodiscard]] const Bindings& bound() const noexcept { return bound_; }
  template <class T>
  [[nodiscard]] const T* in(std::size_t i = 0) const {
    return static_cast<const T*>(bound_.inputs[i]);
  }
  template <class T>
  [[nodiscard]] T* out() const {
    return static_cast<T*>(bound_.output);
  }
  template <class T>
  [[nodiscard]] T* out_gradient() const {
    return static_cast<T*>(bound_.output_gradient);
  }
  /// Null when nobody wants it.
  template <class T>
  [[nodiscard]] T* in_gradient(std::size_t i = 0) const {
    return static_cast<T*>(bound_.input_gradients[i].data);
  }
  [[nodiscard]] bool adds(std::size_t i = 0) const { return bound_.input_gradients[i].add; }
  template <class T>
  [[nodiscard]] T* saved(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(bound_.saved) + offset);
  }
  template <class T>
  [[nodiscard]] T* workspace(std::size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(bound_.workspace) + offset);
  }
  /// Slot `i` in one of the pass's arrays, whatever its dtype.
  template <class T>
  [[nodiscard]] T* slot(const FlatSpan& array, std::size_t i) const {
    return reinterpret_cast<T*>(array.at(bound_.parameters[i]));
  }
  /// Where the gradient of slot `i` goes in this pass.
  [[nodiscard]] GradientSlot gradient_slot(const Pass& pass, std::size_t i) const {
    return {slot<void>(pass.gradients, i), pass.gradients.dtype == Dtype::bf16, pass.accumulate};
  }
  [[nodiscard]] float* state(const FlatSpan& array, std::size_t i) const {
    return reinterpret_cast<float*>(array.at(bound_.states[i]));
  }

 private:
  TensorLayout output_;
  Work work_;
  Device device_;
  Dtype compute_;
  Bindings bound_;
};

/// Rounds up to the alignment of sub-blocks.
[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// Makes Kernel<T> with the device type of the site's compute dtype. Only in .cu files.
template <template <class> class K, class... Args>
[[nodiscard]] std::unique_ptr<Kernel> make_typed(const Site& site, const Args&... args) {
  if (site.options.compute == Dtype::bf16) return std::make_unique<K<__nv_bfloat16>>(site, args...);
  if (site.options.compute == Dtype::f16) return std::make_unique<K<__half>>(site, args...);
  return std::make_unique<K<float>>(site, args...);
}

}  // namespace lockstep::models::cuda
