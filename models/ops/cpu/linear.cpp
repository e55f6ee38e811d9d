// Linear layers, optionally followed by an activation or a residual sum, and the output layer tied to an
// embedding: three products per step on dense weights [out, in]. f32 products write results where they belong
// and accumulate by themselves; bf16 products write f32 scratch that is then rounded.
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/product.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

template <class T>
class LinearKernel final : public CpuKernel {
 public:
  LinearKernel(const Site& site, const bool& bias)
      : CpuKernel(site),
        bias_(bias),
        epilogue_(epilogue_of(site.last().spec)),
        residual_(std::holds_alternative<Add>(site.last().spec)),
        in_(rows_of(site.input())),
        out_(rows_of(site.output())),
        forward_({false, true, out_.count, out_.width, in_.width}),
        data_({false, false, out_.count, in_.width, out_.width}),
        weights_({true, false, out_.width, in_.width, out_.count}) {}

  /// GELU leaves its slopes for backward; the ReLUs' are known from the output.
  [[nodiscard]] std::size_t saved_bytes() const override {
    return keeps() ? static_cast<std::size_t>(out_.count * out_.width) * sizeof(T) : 0;
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return product_offset() +
           (kWide ? 0 : float_bytes(std::max(out_.count * out_.width, in_.count * in_.width)));
  }
  [[nodiscard]] bool backward_needs_input(int input) const override { return input == 0; }
  [[nodiscard]] bool gradient_in_place(int input) const override { return residual_ && input == 1; }
  [[nodiscard]] bool backward_needs_output() const override {
    return !keeps() && epilogue_.activation != Activation::none;
  }
  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override {
    return std::vector<StorageOrderPtr>(bias_ ? 2 : 1);
  }

 private:
  static constexpr bool kWide = sizeof(T) == sizeof(float);

  [[nodiscard]] bool keeps() const {
    return epilogue_.activation == Activation::gelu_tanh || epilogue_.activation == Activation::gelu_exact;
  }
  [[nodiscard]] std::size_t product_offset() const {
    return padded(std::max({forward_.scratch_bytes(), data_.scratch_bytes(), weights_.scratch_bytes(),
                            column_sums_bytes(out_)}));
  }

  void run_forward(const Pass& pass) override {
    T* slopes = keeps() ? saved<T>() : nullptr;
    float* product = workspace<float>(product_offset());
    if constexpr (kWide) product = keeps() ? slopes : out<T>();
    forward_.run(in<T>(), weight<T>(pass, 0), product, false, bound().workspace);
    const float* bias = bias_ ? slot(pass.values, 1) : nullptr;
    if (residual_)
      bias_residual<T>({product, in<T>(1), out<T>(), bias}, out_, threads());
    else if (!kWide || bias_ || epilogue_.activation != Activation::none)
      bias_activation<T>({product, slopes, out<T>(), bias}, out_, epilogue_, threads());
  }

  void run_backward(const Pass& pass) override {
    T* dz = out_gradient<T>();
    const std::int64_t count = out_.count * out_.width;
    float* sums = bias_ ? slot(pass.gradients, 1) : nullptr;
    if (keeps()) {
      scale_rows<T>({saved<T>(), dz, sums, pass.accumulate, workspace<float>()}, out_, threads());
    } else {
      activation_gradient(out<T>(), dz, count, epilogue_, threads());
      if (bias_) column_sums(dz, out_, sums, pass.accumulate, workspace<float>(), threads());
    }
    weights_.run(dz, in<T>(), slot(pass.gradients, 0), pass.accumulate, bound().workspace);
    input_gradient(pass, dz);
    if (residual_ && in_gradient<T>(1) != nullptr && (in_gradient<T>(1) != dz || adds(1)))
      store(dz, in_gradient<T>(1), count, adds(1), threads());
  }
  void input_gradient(const Pass& pass, const T* dz) {
    T* dx = in_gradient<T>();
    if (dx == nullptr) return;
    if constexpr (kWide) {
      data_.run(dz, weight<T>(pass, 0), dx, adds(), bound().workspace);
    } else {
      float* product = workspace<float>(product_offset());
      data_.run(dz, weight<T>(pass, 0), product, false, bound().workspace);
      store(product, dx, in_.count * in_.width, adds(), threads());
    }
  }

  bool bias_;
  Epilogue epilogue_;
  bool residual_;
  Rows in_, out_;
  Product<T> forward_, data_, weights_;
};

}  // namespace

std::unique_ptr<Kernel> make_linear(const Site& site) {
  return make_typed<LinearKernel>(site, std::get<Linear>(site.request.node->spec).bias);
}

std::unique_ptr<Kernel> make_tied_linear(const Site& site) { return make_typed<LinearKernel>(site, false); }

}  // namespace lockstep::models::cpu
