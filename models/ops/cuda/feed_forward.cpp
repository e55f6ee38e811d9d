// The feed-forward part of a transformer block as one kernel: linear, GELU, linear, and perhaps the residual
// sum. GELU runs behind the first product, its derivative behind the product that makes its gradient, so the
// wide activation is written once each way and never read alone.
#include <variant>

#include "core/cuda/cuda.h"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/linear_products.h"

namespace lockstep::models::cuda {
namespace {

class FeedForwardKernel final : public CudaKernel {
 public:
  explicit FeedForwardKernel(const Site& site)
      : CudaKernel(site),
        epilogue_(epilogue_of(site.request.fused[0]->spec)),
        residual_(site.request.fused.size() == 3),
        wide_(shape_of(site, *site.request.node)),
        narrow_(shape_of(site, *site.request.fused[1])),
        first_(wide_, site.options, epilogue_),
        second_(narrow_, site.options, {}, epilogue_) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override {
    return std::vector<StorageOrderPtr>((wide_.bias ? 2 : 1) + (narrow_.bias ? 2 : 1));
  }
  [[nodiscard]] std::size_t saved_bytes() const override { return 2 * hidden_bytes(); }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return std::max(first_.workspace_bytes(), second_.workspace_bytes());
  }
  [[nodiscard]] bool backward_needs_input(int input) const override { return input == 0; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool gradient_in_place(int input) const override { return residual_ && input == 1; }

  void forward(const Pass& pass, Stream& stream) override {
    first_.forward({.x = in<void>(), .y = hidden(), .added = nullptr, .kept = before()},
                   weights(pass, 0, wide_), workspace<void>(), stream);
    second_.forward(
        {.x = hidden(), .y = out<void>(), .added = residual_ ? in<void>(1) : nullptr, .kept = nullptr},
        weights(pass, second(), narrow_), workspace<void>(), stream);
  }

  /// The gradient at GELU's input takes the place of GELU's output once that has been read.
  void backward(const Pass& pass, Stream& stream) override {
    const void* dy = out_gradient<void>();
    void* dz = hidden();
    add_weight_gradient(second_, pass, second(), narrow_, dy, hidden(), stream);
    second_.input_gradient(dy, slot<void>(pass.working, second()), dz, false, before(), workspace<void>(),
                           stream);
    add_weight_gradient(first_, pass, 0, wide_, dz, in<void>(), stream);
    if (in_gradient<void>() != nullptr)
      first_.input_gradient(dz, slot<void>(pass.working, 0), in_gradient<void>(), adds(), nullptr,
                            workspace<void>(), stream);
    if (residual_ && in_gradient<void>(1) != nullptr)
      pass_on(dy, in_gradient<void>(1), narrow_.rows * narrow_.out, compute(), adds(1),
              {device(), lockstep::cuda::native(stream)});
  }

 private:
  static LinearShape shape_of(const Site& site, const Node& node) {
    const auto& op = std::get<Linear>(node.spec);
    const Rows in =
        rows_of(site.request.graph->values()[static_cast<std::size_t>(node.inputs.front())].shape);
    return {in.count, in.width, op.out_features, op.bias};
  }
  [[nodiscard]] std::size_t second() const { return wide_.bias ? 2 : 1; }
  [[nodiscard]] std::size_t hidden_bytes() const {
    return padded(static_cast<std::size_t>(wide_.rows * wide_.out) * size_of(compute()));
  }
  /// GELU's input and output.
  [[nodiscard]] void* before() const { return saved<void>(); }
  [[nodiscard]] void* hidden() const { return saved<void>(hidden_bytes()); }

  [[nodiscard]] LinearProducts::Weights weights(const Pass& pass, std::size_t at,
                                                const LinearShape& shape) const {
    return {slot<void>(pass.working, at), shape.bias ? slot<void>(pass.working, at + 1) : nullptr,
            shape.bias ? slot<float>(pass.values, at + 1) : nullptr};
  }
  void add_weight_gradient(const LinearProducts& products, const Pass& pass, std::size_t at,
                           const LinearShape& shape, const void* dy, const void* x, Stream& stream) {
    products.weight_gradient(dy, x, gradient_slot(pass, at),
                             shape.bias ? gradient_slot(pass, at + 1) : GradientSlot{}, workspace<void>(),
                             stream);
  }

  Epilogue epilogue_;
  bool residual_;
  LinearShape wide_, narrow_;
  LinearProducts first_, second_;
};

}  // namespace

std::unique_ptr<Kernel> make_feed_forward(const Site& site) {
  return std::make_unique<FeedForwardKernel>(site);
}

}  // namespace lockstep::models::cuda
