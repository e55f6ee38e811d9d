// Convolution and transposed convolution, optionally followed by a ReLU. A transposed convolution is a
// convolution from its output to its input run backwards.
#include <algorithm>
#include <variant>

#include "core/cuda/cuda.h"
#include "models/ops/cuda/convolution_plan.h"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/rowwise.h"
#include "models/ops/cuda/widen.h"

namespace lockstep::models::cuda {
namespace {

/// The settings that both operations share.
struct Settings {
  ConvolutionGeometry geometry;
  bool bias = false, transposed = false;
};

Settings settings_of(const Site& site) {
  const Shape &input = site.input(), &output = site.output();
  if (const auto* c = std::get_if<Conv2d>(&site.request.node->spec))
    return {{input, output, c->kernel, c->stride, c->padding, c->dilation, c->groups}, c->bias, false};
  const auto& c = std::get<ConvTranspose2d>(site.request.node->spec);
  return {{output, input, c.kernel, c.stride, c.padding, c.dilation, c.groups}, c.bias, true};
}

/// Plans in all directions; those that training needs are null without it.
class Plans {
 public:
  Plans(const Site& site, const Settings& settings)
      : request_{.geometry = settings.geometry,
                 .dtype = site.options.compute,
                 .written = site.options.compute,
                 .tf32 = site.options.tf32,
                 .tune = site.options.tune,
                 .repeatable = site.options.repeatable,
                 .device = site.options.device} {
    const auto ahead = settings.transposed ? Direction::image_gradient : Direction::forward;
    const auto back = settings.transposed ? Direction::forward : Direction::image_gradient;
    forward = find(ahead);
    if (!site.request.training) return;
    choose_weight_gradient();
    if (!site.wants_input_gradient()) return;
    input_gradient = find(back);
    choose_adding(back);
  }

  ConvolutionPlanPtr forward, input_gradient, weight_gradient;
  ConvolutionPlanPtr adding;  ///< adds the input gradient to what is there; null: sum afterwards
  Dtype weight_gradient_dtype = Dtype::f32;

  [[nodiscard]] std::size_t workspace_bytes() const {
    std::size_t most = 0;
    for (const auto* plan : {&forward, &input_gradient, &weight_gradient, &adding})
      if (*plan != nullptr) most = std::max(most, (*plan)->workspace_bytes());
    return most;
  }

 private:
  [[nodiscard]] ConvolutionPlanPtr find(Direction direction) const {
    ConvolutionRequest request = request_;
    request.direction = direction;
    if (auto plan = cudnn_convolution(request)) return plan;
    return direct_convolution(request);
  }

  /// In f32 where the library does that; in the compute dtype and widened where it does not, or where that is
  /// measured to be faster.
  void choose_weight_gradient() {
    ConvolutionRequest request = request_;
    request.direction = Direction::weight_gradient;
    request.written = Dtype::f32;
    const ConvolutionPlanPtr wide = cudnn_convolution(request);
    request.written = request.dtype;
    const ConvolutionPlanPtr narrow = request.dtype == Dtype::f32 ? nullptr : cudnn_convolution(request);
    if (narrow != nullptr &&
        (wide == nullptr || narrow->measured_ms() + widening_ms() < wide->measured_ms())) {
      weight_gradient = narrow;
      weight_gradient_dtype = request.dtype;
      return;
    }
    request.written = Dtype::f32;
    weight_gradient = wide != nullptr ? wide : direct_convolution(request);
  }
  /// About what another kernel and its traffic cost; negative when nothing was measured, so that f32 wins.
  [[nodiscard]] double widening_ms() const {
    constexpr double kLaunch = 2e-3, kPerElement = 6 / 2.5e9;  // bytes over bytes a millisecond
    return request_.tune ? kLaunch + kPerElement * static_cast<double>(request_.geometry.weight().count())
                         : 0;
  }

  void choose_adding(Direction direction) {
    ConvolutionRequest request = request_;
    request.direction = direction;
    request.add = true;
    adding = cudnn_convolution(request);
    // Summing afterwards reads two gradients and writes one.
    const Shape& written = direction == Direction::forward ? request.geometry.result : request.geometry.image;
    const double apart = input_gradient->measured_ms() + static_cast<double>(written.count()) * 3 *
                                                             static_cast<double>(size_of(request.dtype)) /
                                                             2.5e9;
    if (adding != nullptr && request.tune && adding->measured_ms() > apart) adding = nullptr;
  }

  ConvolutionRequest request_;
};

class Convolution final : public CudaKernel {
 public:
  explicit Convolution(const Site& site)
      : CudaKernel(site),
        settings_(settings_of(site)),
        epilogue_(epilogue_of(site.last().spec)),
        rows_(rows_of(site.output())),
        plans_(site, settings_),
        input_count_(site.input().count()) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override {
    std::vector<StorageOrderPtr> orders{image_order(settings_.geometry.weight())};
    if (settings_.bias) orders.emplace_back();
    return orders;
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

  void forward(const Pass& pass, Stream& stream) override {
    const On on{device(), lockstep::cuda::native(stream)};
    plans_.forward->run(arrays(in<void>(), slot<void>(pass.working, 0), out<void>()), workspace<void>(),
                        on.stream);
    if (settings_.bias || epilogue_.activation != Activation::none)
      bias_activation(out<void>(), nullptr, settings_.bias ? slot<float>(pass.values, 1) : nullptr, rows_,
                      compute(), epilogue_, on);
  }

  void backward(const Pass& pass, Stream& stream) override {
    const On on{device(), lockstep::cuda::native(stream)};
    void* dy = out_gradient<void>();
    if (epilogue_.activation != Activation::none)
      activation_gradient(out<void>(), dy, rows_.count * rows_.width, compute(), epilogue_, on);
    if (settings_.bias)
      column_sums(dy, rows_, compute(), slot<float>(pass.gradients, 1), pass.accumulate, fresh(), on);
    weight_gradient(pass, on);
    if (in_gradient<void>() != nullptr) input_gradient(pass, on);
  }

 private:
  [[nodiscard]] std::size_t fresh_offset() const { return padded(plans_.workspace_bytes()); }
  /// Where what is added later lies first.
  [[nodiscard]] void* fresh() const { return workspace<void>(fresh_offset()); }
  [[nodiscard]] std::int64_t weight_count() const { return settings_.geometry.weight().count(); }
  [[nodiscard]] ConvolutionArrays arrays(const void* x, void* weight, void* y) const {
    auto* input = const_cast<void*>(x);
    return settings_.transposed ? ConvolutionArrays{y, weight, input} : ConvolutionArrays{input, weight, y};
  }

  void weight_gradient(const Pass& pass, const On& on) {
    auto* gradient = slot<float>(pass.gradients, 0);
    const bool direct = plans_.weight_gradient_dtype == Dtype::f32 && !pass.accumulate;
    plans_.weight_gradient->run(arrays(in<void>(), direct ? gradient : fresh(), out_gradient<void>()),
                                workspace<void>(), on.stream);
    if (!direct) widen(fresh(), plans_.weight_gradient_dtype, gradient, weight_count(), pass.accumulate, on);
  }

  void input_gradient(const Pass& pass, const On& on) {
    void* dx = in_gradient<void>();
    const bool apart = adds() && plans_.adding == nullptr;
    const ConvolutionPlan& plan = adds() && !apart ? *plans_.adding : *plans_.input_gradient;
    plan.run(arrays(apart ? fresh() : dx, slot<void>(pass.working, 0), out_gradient<void>()),
             workspace<void>(), on.stream);
    if (apart) pass_on(fresh(), dx, input_count_, compute(), true, on);
  }

  Settings settings_;
  Epilogue epilogue_;
  Rows rows_;
  Plans plans_;
  std::int64_t input_count_;
};

}  // namespace

std::unique_ptr<Kernel> make_convolution(const Site& site) { return std::make_unique<Convolution>(site); }

}  // namespace lockstep::models::cuda
