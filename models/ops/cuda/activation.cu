// ReLU, leaky ReLU and GELU (tanh and exact) alone: one pass over 16-byte packs each way. ReLUs' backward
// reads the output, GELU's the input.
#include "core/cuda/element.cuh"
#include "models/ops/cuda/activation.cuh"
#include "models/ops/cuda/kernels.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

template <class T>
__global__ void forward_kernel(const T* x, T* y, std::int64_t count, Epilogue epilogue) {
  for (std::int64_t i = first_item(); i < count; i += stride())
    y[i] = from_float<T>(activated(to_float(x[i]), epilogue));
}

/// `seen` is the input (GELU) or the output (ReLUs).
template <class T>
__global__ void backward_kernel(const T* seen, const T* dy, T* dx, std::int64_t count, Epilogue epilogue,
                                bool add) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    const float d = to_float(dy[i]) * slope_at(to_float(seen[i]), epilogue);
    dx[i] = from_float<T>(add ? to_float(dx[i]) + d : d);
  }
}

template <class T>
class ActivationKernel final : public CudaKernel {
 public:
  explicit ActivationKernel(const Site& site)
      : CudaKernel(site), epilogue_(epilogue_of(site.request.node->spec)), count_(site.output().count()) {}

  [[nodiscard]] bool backward_needs_input(int) const override { return reads_input(epilogue_); }
  [[nodiscard]] bool backward_needs_output() const override { return !reads_input(epilogue_); }
  [[nodiscard]] bool in_place() const override { return !reads_input(epilogue_); }

  void forward(const Pass&, Stream& stream) override {
    forward_kernel<<<blocks_for(count_, device()), kBlockThreads, 0, native(stream)>>>(in<T>(), out<T>(),
                                                                                       count_, epilogue_);
    check_launch("activation");
  }
  void backward(const Pass&, Stream& stream) override {
    if (in_gradient<T>() == nullptr) return;
    const T* seen = reads_input(epilogue_) ? in<T>() : out<T>();
    backward_kernel<<<blocks_for(count_, device()), kBlockThreads, 0, native(stream)>>>(
        seen, out_gradient<T>(), in_gradient<T>(), count_, epilogue_, adds());
    check_launch("activation backward");
  }

 private:
  Epilogue epilogue_;
  std::int64_t count_;
};

}  // namespace

std::unique_ptr<Kernel> make_activation(const Site& site) { return make_typed<ActivationKernel>(site); }

}  // namespace lockstep::models::cuda
