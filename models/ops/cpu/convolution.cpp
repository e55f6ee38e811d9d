// Convolution and transposed convolution, optionally followed by a ReLU.
#include "models/ops/cpu/convolution_plan.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

/// The settings that both operations share.
struct Settings {
  Pair kernel, stride, padding, dilation;
  std::int64_t groups;
  bool bias, transposed;
};

Settings settings_of(const OpSpec& spec) {
  if (const auto* c = std::get_if<Conv2d>(&spec))
    return {c->kernel, c->stride, c->padding, c->dilation, c->groups, c->bias, false};
  const auto& c = std::get<ConvTranspose2d>(spec);
  return {c.kernel, c.stride, c.padding, c.dilation, c.groups, c.bias, true};
}

ConvolutionGeometry geometry_of(const Settings& s, const Shape& input, const Shape& output) {
  return {s.transposed ? output : input,
          s.transposed ? input : output,
          s.kernel,
          s.stride,
          s.padding,
          s.dilation,
          s.groups};
}

template <class T>
class Convolution final : public CpuKernel {
 public:
  explicit Convolution(const Site& site)
      : CpuKernel(site),
        settings_(settings_of(site.request.node->spec)),
        epilogue_(epilogue_of(site.last().spec)),
        rows_(rows_of(site.output())),
        wants_input_(site.wants_input_gradient()),
        plan_(geometry_of(settings_, site.input(), site.output()),
              {site.options.compute, settings_.bias && !settings_.transposed,
               epilogue_.activation != Activation::none && !settings_.transposed, epilogue_.slope,
               settings_.transposed, wants_input_}),
        input_count_(site.input().count()) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override {
    std::vector<StorageOrderPtr> orders{plan_.weight_order()};
    if (settings_.bias) orders.emplace_back();
    return orders;
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return fresh_offset() + padded(static_cast<std::size_t>(input_count_) * sizeof(T));
  }
  [[nodiscard]] bool backward_needs_output() const override {
    return epilogue_.activation != Activation::none;
  }

 private:
  /// Where backward puts an input gradient that is then added.
  [[nodiscard]] std::size_t fresh_offset() const {
    return padded(plan_.scratch_bytes()) + padded(column_sums_bytes(rows_));
  }

  void run_forward(const Pass& pass) override {
    const ConvolutionPlan::Weights weights{weight<T>(pass, 0),
                                           settings_.bias ? slot(pass.values, 1) : nullptr};
    if (!settings_.transposed) return plan_.convolve(in<T>(), weights, out<T>(), bound().workspace);
    plan_.convolve_back(in<T>(), weights, out<T>(), bound().workspace);
    bias_activation_in_place(out<T>(), static_cast<const float*>(weights.bias), rows_, epilogue_, threads());
  }

  void run_backward(const Pass& pass) override {
    activation_gradient(out<T>(), out_gradient<T>(), rows_.count * rows_.width, epilogue_, threads());
    weight_gradients(pass);
    if (in_gradient<T>() == nullptr) return;
    T* target = adds() ? workspace<T>(fresh_offset()) : in_gradient<T>();
    const ConvolutionPlan::Weights weights{weight<T>(pass, 0), nullptr};
    if (settings_.transposed)
      plan_.convolve(out_gradient<T>(), weights, target, bound().workspace);
    else
      plan_.convolve_back(out_gradient<T>(), weights, target, bound().workspace);
    if (adds()) store(target, in_gradient<T>(), input_count_, true, threads());
  }

  void weight_gradients(const Pass& pass) {
    const bool own_bias = settings_.bias && settings_.transposed;
    const ConvolutionPlan::WeightGradients gradients{
        slot(pass.gradients, 0), settings_.bias ? slot(pass.gradients, 1) : nullptr, pass.accumulate};
    const void* source = settings_.transposed ? bound().output_gradient : bound().inputs[0];
    const void* destination = settings_.transposed ? bound().inputs[0] : bound().output_gradient;
    plan_.weight_gradient(source, destination, gradients, bound().workspace);
    if (own_bias)
      column_sums(out_gradient<T>(), rows_, gradients.bias, pass.accumulate,
                  workspace<float>(padded(plan_.scratch_bytes())), threads());
  }

  Settings settings_;
  Epilogue epilogue_;
  Rows rows_;
  bool wants_input_;
  ConvolutionPlan plan_;
  std::int64_t input_count_;
};

}  // namespace

std::unique_ptr<Kernel> make_convolution(const Site& site) { return make_typed<Convolution>(site); }

}  // namespace lockstep::models::cpu
