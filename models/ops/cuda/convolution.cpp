// Convolution and transposed convolution, optionally followed by a ReLU.
#include <algorithm>

#include "core/cuda/cuda.h"
#include "models/ops/cuda/convolution_plans.h"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

class Convolution final : public CudaKernel {
 public:
  explicit Convolution(const Site& site)
      : CudaKernel(site),
        settings_(convolution_settings(site)),
        epilogue_(epilogue_of(site.last().spec)),
        rows_(rows_of(site.output())),
        plans_(choose_plans(site, settings_)),
        input_count_(site.input().count()) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override {
    std::vector<StorageOrderPtr> orders{image_order(settings_.geometry.weight())};
    if (settings_.bias) orders.emplace_back();
    return orders;
  }
  /// The folded image.
  [[nodiscard]] std::size_t saved_bytes() const override {
    return plans_.folding ? static_cast<std::size_t>(plans_.geometry.image.count()) * size_of(compute()) : 0;
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    const std::size_t fresh = plans_.adding == nullptr && plans_.input_gradient != nullptr
                                  ? static_cast<std::size_t>(input_count_) * size_of(compute())
                                  : 0;
    const std::size_t weight = static_cast<std::size_t>(weight_count()) * sizeof(float);
    return fresh_offset() + padded(std::max({fresh, weight, column_sums_bytes(rows_)}));
  }
  [[nodiscard]] bool backward_needs_output() const override {
    return epilogue_.activation != Activation::none;
  }

  [[nodiscard]] bool backward_needs_input(int) const override { return !plans_.folding; }

  void forward(const Pass& pass, Stream& stream) override {
    const On on{device(), lockstep::cuda::native(stream)};
    auto* weight = slot<void>(pass.working, 0);
    if (plans_.folding) {
      fold_image(*plans_.folding, in<void>(), saved<void>(), compute(), on);
      fold_weight(*plans_.folding, weight, fresh(), compute(), on);
      weight = fresh();
    }
    plans_.forward->run(arrays(image(), weight, out<void>()), workspace<void>(), on.stream);
    if (settings_.bias || epilogue_.activation != Activation::none)
      bias_activation(out<void>(), nullptr, settings_.bias ? slot<float>(pass.values, 1) : nullptr, rows_,
                      compute(), epilogue_, on);
  }

  void backward(const Pass& pass, Stream& stream) override {
    const On on{device(), lockstep::cuda::native(stream)};
    void* dy = out_gradient<void>();
    if (epilogue_.activation != Activation::none)
      activation_gradient(out<void>(), dy, rows_.count * rows_.width, compute(), epilogue_, on);
    if (settings_.bias) column_sums(dy, rows_, compute(), gradient_slot(pass, 1), fresh(), on);
    weight_gradient(pass, on);
    if (in_gradient<void>() != nullptr) input_gradient(pass, on);
  }

 private:
  [[nodiscard]] std::size_t fresh_offset() const { return padded(plans_.workspace_bytes()); }
  /// Where what is added later lies first.
  [[nodiscard]] void* fresh() const { return workspace<void>(fresh_offset()); }
  [[nodiscard]] std::int64_t weight_count() const { return plans_.geometry.weight().count(); }
  [[nodiscard]] const void* image() const { return plans_.folding ? saved<void>() : in<void>(); }
  [[nodiscard]] ConvolutionArrays arrays(const void* x, void* weight, void* y) const {
    auto* input = const_cast<void*>(x);
    return settings_.transposed ? ConvolutionArrays{y, weight, input} : ConvolutionArrays{input, weight, y};
  }

  void weight_gradient(const Pass& pass, const On& on) {
    const GradientSlot gradient = gradient_slot(pass, 0);
    const Dtype dtype = plans_.weight_gradient_dtype;
    const bool direct = dtype == gradient.dtype() && !gradient.add && !plans_.folding;
    plans_.weight_gradient->run(arrays(image(), direct ? gradient.data : fresh(), out_gradient<void>()),
                                workspace<void>(), on.stream);
    if (plans_.folding)
      unfold_gradient(*plans_.folding, fresh(), dtype, gradient, on);
    else if (!direct)
      put_gradient(fresh(), dtype, gradient, weight_count(), on);
  }

  void input_gradient(const Pass& pass, const On& on) {
    void* dx = in_gradient<void>();
    const bool apart = adds() && plans_.adding == nullptr;
    const ConvolutionPlan& plan = adds() && !apart ? *plans_.adding : *plans_.input_gradient;
    plan.run(arrays(apart ? fresh() : dx, slot<void>(pass.working, 0), out_gradient<void>()),
             workspace<void>(), on.stream);
    if (apart) pass_on(fresh(), dx, input_count_, compute(), true, on);
  }

  ConvolutionSettings settings_;
  Epilogue epilogue_;
  Rows rows_;
  ConvolutionPlans plans_;
  std::int64_t input_count_;
};

}  // namespace

std::unique_ptr<Kernel> make_convolution(const Site& site) { return std::make_unique<Convolution>(site); }

}  // namespace lockstep::models::cuda
