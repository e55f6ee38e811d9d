// Linear layers with what may follow them (an activation, a residual sum), and the output layer tied to an
// embedding. A residual's gradient is the output's own: it stays where it lies.
#include <algorithm>
#include <variant>

#include "core/cuda/cuda.h"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/linear_products.h"
#include "models/ops/cuda/vocabulary.h"

namespace lockstep::models::cuda {
namespace {

class LinearKernel final : public CudaKernel {
 public:
  LinearKernel(const Site& site, const LinearShape& shape, const TensorLayout& output,
               std::vector<StorageOrderPtr> storage)
      : CudaKernel(site, output),
        shape_(shape),
        storage_(std::move(storage)),
        epilogue_(epilogue_of(site.last().spec)),
        residual_(std::holds_alternative<Add>(site.last().spec)),
        products_(shape, site.options, epilogue_) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return storage_; }
  /// GELU's backward needs its input; the ReLUs' only the output.
  [[nodiscard]] std::size_t saved_bytes() const override {
    return keeps() ? static_cast<std::size_t>(shape_.rows * shape_.out) * size_of(compute()) : 0;
  }
  [[nodiscard]] std::size_t workspace_bytes() const override { return products_.workspace_bytes(); }
  [[nodiscard]] bool backward_needs_input(int input) const override { return input == 0; }
  [[nodiscard]] bool backward_needs_output() const override {
    return !keeps() && epilogue_.activation != Activation::none;
  }
  [[nodiscard]] bool gradient_in_place(int input) const override { return residual_ && input == 1; }

  void forward(const Pass& pass, Stream& stream) override {
    products_.forward({.x = in<void>(),
                       .y = out<void>(),
                       .added = residual_ ? in<void>(1) : nullptr,
                       .kept = keeps() ? saved<void>() : nullptr},
                      weights(pass), workspace<void>(), stream);
  }

  void backward(const Pass& pass, Stream& stream) override {
    void* dy = out_gradient<void>();
    const std::int64_t count = shape_.rows * shape_.out;
    const On on{device(), lockstep::cuda::native(stream)};
    if (epilogue_.activation != Activation::none)
      activation_gradient(keeps() ? saved<void>() : out<void>(), dy, count, compute(), epilogue_, on);
    products_.weight_gradient(dy, in<void>(), gradient_slot(pass, 0),
                              shape_.bias ? gradient_slot(pass, 1) : GradientSlot{}, workspace<void>(),
                              stream);
    if (in_gradient<void>() != nullptr)
      products_.input_gradient(dy, slot<void>(pass.working, 0), in_gradient<void>(), adds(), nullptr,
                               workspace<void>(), stream);
    if (residual_ && in_gradient<void>(1) != nullptr)
      pass_on(dy, in_gradient<void>(1), count, compute(), adds(1), on);
  }

 private:
  [[nodiscard]] bool keeps() const {
    return epilogue_.activation != Activation::none && reads_input(epilogue_);
  }
  [[nodiscard]] LinearProducts::Weights weights(const Pass& pass) const {
    return {slot<void>(pass.working, 0), shape_.bias ? slot<void>(pass.working, 1) : nullptr,
            shape_.bias ? slot<float>(pass.values, 1) : nullptr};
  }

  LinearShape shape_;
  std::vector<StorageOrderPtr> storage_;
  Epilogue epilogue_;
  bool residual_;
  LinearProducts products_;
};

/// Padded columns are only for who knows them.
bool only_losses_read(const Graph& graph, int value) {
  return std::ranges::all_of(graph.nodes(), [&](const Node& node) {
    return std::holds_alternative<SoftmaxCrossEntropy>(node.spec) ||
           std::ranges::find(node.inputs, value) == node.inputs.end();
  });
}

}  // namespace

std::unique_ptr<Kernel> make_linear(const Site& site) {
  const auto& op = std::get<Linear>(site.request.node->spec);
  const Rows in = rows_of(site.input());
  const LinearShape shape{in.count, in.width, op.out_features, op.bias};
  return std::make_unique<LinearKernel>(site, shape, activation(site.output(), site.options.compute),
                                        std::vector<StorageOrderPtr>(op.bias ? 2 : 1));
}

std::unique_ptr<Kernel> make_tied_linear(const Site& site) {
  const Rows in = rows_of(site.input());
  const std::int64_t vocabulary = rows_of(site.output()).width;
  const bool padded = only_losses_read(*site.request.graph, site.request.node->output);
  const TensorLayout output = padded ? padded_logits(site.output(), site.options.compute)
                                     : TensorLayout{site.output(), site.options.compute, nullptr};
  const LinearShape shape{in.count, in.width, row_step(output), false};
  return std::make_unique<LinearKernel>(site, shape, output,
                                        std::vector<StorageOrderPtr>{padded_embedding(vocabulary, in.width)});
}

}  // namespace lockstep::models::cuda
