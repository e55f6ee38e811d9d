// Dropout, alone or with the residual sum behind it. Masks are made where they are used; nothing is saved.
#include <variant>

#include "models/ops/cuda/drops.cuh"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/lot.cuh"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// How elements of a sample lie: images have channels innermost, masks count them canonically.
struct Order {
  std::int64_t samples, elements, channels, pixels;  ///< channels 0: dense
};

/// Four elements of a sample at a time; the last of a sample may be fewer.
template <class T>
__global__ void dense_kernel(const T* x, const T* residual, T* y, Order order, Drops drops, bool add) {
  const std::int64_t quads = (order.elements + 3) / 4;
  for (std::int64_t item = first_item(); item < order.samples * quads; item += stride()) {
    const std::int64_t sample = item / quads, quad = item % quads;
    const float4 four = drop_factors(drops, sample, static_cast<std::uint64_t>(quad));
    const float factors[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (quad * 4 + i >= order.elements) break;
      const std::int64_t at = sample * order.elements + quad * 4 + i;
      float v = factors[i] * to_float(x[at]);
      if (residual != nullptr) v += to_float(residual[at]);
      y[at] = from_float<T>(add ? to_float(y[at]) + v : v);
    }
  }
}

template <class T>
__global__ void image_kernel(const T* x, const T* residual, T* y, Order order, Drops drops, bool add) {
  for (std::int64_t at = first_item(); at < order.samples * order.elements; at += stride()) {
    const std::int64_t sample = at / order.elements, stored = at % order.elements;
    const std::int64_t element = stored % order.channels * order.pixels + stored / order.channels;
    float v = drop_factor(drops, sample, static_cast<std::uint64_t>(element)) * to_float(x[at]);
    if (residual != nullptr) v += to_float(residual[at]);
    y[at] = from_float<T>(add ? to_float(y[at]) + v : v);
  }
}

template <class T>
class DropoutKernel final : public CudaKernel {
 public:
  explicit DropoutKernel(const Site& site)
      : CudaKernel(site),
        rate_(std::get<Dropout>(site.request.node->spec).rate),
        name_(site.request.node->name),
        residual_(!site.request.fused.empty()) {
    const Shape& shape = site.output();
    order_ = {shape[0], shape[0] == 0 ? 0 : shape.count() / shape[0], 0, 0};
    if (output().storage) order_.channels = shape[1], order_.pixels = shape[2] * shape[3];
  }

  [[nodiscard]] bool in_place() const override { return true; }
  [[nodiscard]] bool gradient_in_place(int input) const override { return input == (residual_ ? 1 : 0); }
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

  void forward(const Pass& pass, Stream& stream) override {
    run(pass, in<T>(), residual_ ? in<T>(1) : nullptr, out<T>(), false, stream);
  }
  void backward(const Pass& pass, Stream& stream) override {
    if (in_gradient<T>() != nullptr) run(pass, out_gradient<T>(), nullptr, in_gradient<T>(), adds(), stream);
    if (residual_ && in_gradient<T>(1) != nullptr)
      pass_on(out_gradient<T>(), in_gradient<T>(1), order_.samples * order_.elements, compute(), adds(1),
              {device(), native(stream)});
  }

 private:
  void run(const Pass& pass, const T* x, const T* residual, T* y, bool add, Stream& stream) {
    const std::int64_t count = order_.samples * order_.elements;
    if (count == 0) return;
    const Drops drops = drops_of(pass, name_, rate_);
    if (order_.channels > 0) {
      image_kernel<<<blocks_for(count, device()), kBlockThreads, 0, native(stream)>>>(x, residual, y, order_,
                                                                                      drops, add);
    } else {
      dense_kernel<<<blocks_for((count + 3) / 4, device()), kBlockThreads, 0, native(stream)>>>(
          x, residual, y, order_, drops, add);
    }
    check_launch("dropout");
  }

  float rate_;
  std::string name_;
  bool residual_;
  Order order_{};
};

}  // namespace

std::unique_ptr<Kernel> make_dropout(const Site& site) { return make_typed<DropoutKernel>(site); }

}  // namespace lockstep::models::cuda
