// Layer norm over the last axis: every tensor is read once and written once each way; mean and 1 / deviation
// are saved in f32. Gradients of weight and bias are summed by every block over its rows, then over blocks,
// in an order that the shape alone fixes.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/layer_norm_wide.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

template <class T>
class LayerNormKernel final : public CudaKernel {
 public:
  explicit LayerNormKernel(const Site& site)
      : CudaKernel(site),
        epsilon_(std::get<LayerNorm>(site.request.node->spec).epsilon),
        rows_(rows_of(site.input())) {
    make_room();
  }

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr, nullptr}; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(rows_.count) * sizeof(Moments);
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(blocks() * 2 * rows_.width) * sizeof(float);
  }

  void forward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = native(stream);
    const NormWeights weights{slot<float>(pass.values, 0), slot<float>(pass.values, 1)};
    const bool held = with_packs([&](auto packs) {
      const auto grid = static_cast<unsigned>((rows_.count + kNormWarps - 1) / kNormWarps);
      rows_forward<T, decltype(packs)::value><<<grid, kNormThreads, 0, on>>>(
          in<T>(), weights, out<T>(), saved<Moments>(), rows_.count, rows_.width, epsilon_);
    });
    if (!held)
      wide_forward<T><<<static_cast<unsigned>(rows_.count), kNormThreads, 0, on>>>(
          in<T>(), weights, out<T>(), saved<Moments>(), rows_.width, epsilon_);
    check_launch("layer_norm");
  }

  void backward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = native(stream);
    const float* w = slot<float>(pass.values, 0);
    auto* partial = workspace<float>();
    const bool held = with_packs([&](auto packs) {
      constexpr int kPacks = decltype(packs)::value;
      rows_backward<T, kPacks>
          <<<static_cast<unsigned>(blocks()), kNormThreads, backward_room<T, kPacks>(stages_), on>>>(
              in<T>(), out_gradient<T>(), w, saved<Moments>(), in_gradient<T>(), adds(), partial, rows_.count,
              rows_.width, stages_);
    });
    if (!held) {
      wide_parameters<T><<<static_cast<unsigned>(blocks()), kNormThreads, 0, on>>>(
          in<T>(), out_gradient<T>(), saved<Moments>(), partial, rows_.count, rows_.width);
      if (in_gradient<T>() != nullptr)
        wide_backward<T><<<static_cast<unsigned>(rows_.count), kNormThreads, 0, on>>>(
            in<T>(), out_gradient<T>(), w, saved<Moments>(), in_gradient<T>(), adds(), rows_.width);
    }
    check_launch("layer_norm backward");
    parameter_totals<<<static_cast<unsigned>((2 * rows_.width + 31) / 32), dim3(32, 32), 0, on>>>(
        partial, static_cast<int>(blocks()), rows_.width, gradient_slot(pass, 0), gradient_slot(pass, 1));
    check_launch("layer_norm backward");
  }

 private:
  /// Of the sums over rows: two a multiprocessor of an H100, whatever the device, so that bits do not depend
  /// on it.
  [[nodiscard]] std::int64_t blocks() const {
    return std::clamp<std::int64_t>((rows_.count + kNormWarps - 1) / kNormWarps, 1, 264);
  }
  /// Calls run(packs a lane, as a constant) where a warp can hold a row; false where it cannot.
  template <class Run>
  bool with_packs(Run&& run) const {
    constexpr std::int64_t kCount = Pack<T>::kCount;
    if (rows_.width % kCount != 0) return false;
    const std::int64_t packs = (rows_.width / kCount + 31) / 32;
    if (packs <= 1) return run(std::integral_constant<int, 1>{}), true;
    if (packs <= 2) return run(std::integral_constant<int, 2>{}), true;
    if (packs <= 3) return run(std::integral_constant<int, 3>{}), true;
    if (packs <= 4) return run(std::integral_constant<int, 4>{}), true;
    if (packs <= 6) return run(std::integral_constant<int, 6>{}), true;
    if (packs <= 8) return run(std::integral_constant<int, 8>{}), true;
    return false;
  }

  /// Two stages where the device has the shared memory.
  void make_room() {
    with_packs([&](auto packs) {
      constexpr int kPacks = decltype(packs)::value;
      int most = 0;
      check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device().index), "device");
      stages_ = backward_room<T, kPacks>(2) <= static_cast<std::size_t>(most) ? 2 : 1;
      check(cudaFuncSetAttribute(rows_backward<T, kPacks>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(backward_room<T, kPacks>(stages_))),
            "layer_norm");
    });
  }

  float epsilon_;
  Rows rows_;
  int stages_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> make_layer_norm(const Site& site) { return make_typed<LayerNormKernel>(site); }

}  // namespace lockstep::models::cuda
