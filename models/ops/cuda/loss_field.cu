// Losses between fields, a row per sample: mean squared error and smooth L1 (Girshick 2015). Targets are f32
// whatever the compute dtype. Long samples are summed in double.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/loss_share.cuh"
#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// beta 0: d^2; else d^2 / (2 beta) near zero, |d| - beta / 2 outside.
__device__ __forceinline__ float value_at(float d, float beta) {
  const float size = fabsf(d);
  if (beta == 0) return d * d;
  return size < beta ? size * size / (2 * beta) : size - beta / 2;
}
__device__ __forceinline__ float slope_at(float d, float beta) {
  return beta == 0 ? 2 * d : fminf(fmaxf(d / beta, -1.0F), 1.0F);
}

template <class T>
__global__ void __launch_bounds__(1024)
    forward_kernel(const T* x, const float* target, float* losses, std::int64_t elements,
                   std::int64_t counted, float beta) {
  __shared__ double room[32];
  if (blockIdx.x >= counted) {
    if (threadIdx.x == 0) losses[blockIdx.x] = kIgnoredRow;
    return;
  }
  const std::int64_t first = blockIdx.x * elements;
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < elements; i += blockDim.x)
    sum += static_cast<double>(value_at(to_float(x[first + i]) - target[first + i], beta));
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) losses[blockIdx.x] = static_cast<float>(sum / static_cast<double>(elements));
}

template <class T>
__global__ void backward_kernel(const T* x, const float* target, const float* losses, const float* share,
                                T* dx, bool add, std::int64_t count, std::int64_t elements, float beta) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    const bool counts = losses[i / elements] != kIgnoredRow;
    const float d =
        counts ? *share / static_cast<float>(elements) * slope_at(to_float(x[i]) - target[i], beta) : 0.0F;
    dx[i] = from_float<T>(add ? to_float(dx[i]) + d : d);
  }
}

template <class T>
class FieldLossKernel final : public CudaKernel {
 public:
  FieldLossKernel(const Site& site, const float& beta)
      : CudaKernel(site, Dtype::f32),
        samples_(site.input()[0]),
        elements_(site.input().count() / site.input()[0]),
        beta_(beta) {}

  [[nodiscard]] std::size_t workspace_bytes() const override { return sizeof(float); }

  void forward(const Pass& pass, Stream& stream) override {
    const std::int64_t counted = pass.rows < 0 ? samples_ : std::min(pass.rows, samples_);
    forward_kernel<<<static_cast<unsigned>(samples_), 1024, 0, native(stream)>>>(
        in<T>(), in<float>(1), out<float>(), elements_, counted, beta_);
    check_launch("field loss");
  }
  void backward(const Pass& pass, Stream& stream) override {
    if (in_gradient<T>() == nullptr) return;
    auto* share = workspace<float>();
    const std::int64_t count = samples_ * elements_;
    share_kernel<<<1, 1024, 0, native(stream)>>>(out<float>(), samples_, pass.loss_scale, share);
    backward_kernel<<<blocks_for(count, device()), kBlockThreads, 0, native(stream)>>>(
        in<T>(), in<float>(1), out<float>(), share, in_gradient<T>(), adds(), count, elements_, beta_);
    check_launch("field loss backward");
  }

 private:
  std::int64_t samples_, elements_;
  float beta_;
};

}  // namespace

std::unique_ptr<Kernel> make_mean_squared_error(const Site& site) {
  return make_typed<FieldLossKernel>(site, 0.0F);
}
std::unique_ptr<Kernel> make_smooth_l1(const Site& site) {
  return make_typed<FieldLossKernel>(site, std::get<SmoothL1>(site.request.node->spec).beta);
}

}  // namespace lockstep::models::cuda
