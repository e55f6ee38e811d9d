#include "models/ops/cuda/linear_products.h"

#include "core/cuda/cuda.h"

namespace lockstep::models::cuda {
namespace {

/// What cuBLASLt itself can do behind a product. Its GELU is made for 16-bit accuracy.
Tail tail_of(const Epilogue& epilogue, Dtype dtype) {
  if (epilogue.activation == Activation::relu) return Tail::relu;
  if (epilogue.activation == Activation::gelu_tanh && dtype != Dtype::f32) return Tail::gelu;
  return Tail::none;
}

/// Rows whose width no 16 bytes divide put every other address off.
std::size_t alignment_of(std::int64_t in, std::int64_t out, Dtype dtype) {
  const std::size_t element = size_of(dtype);
  std::size_t alignment = 16;
  while (alignment > element && (static_cast<std::size_t>(in) * element % alignment != 0 ||
                                 static_cast<std::size_t>(out) * element % alignment != 0))
    alignment /= 2;
  return alignment;
}

ProductSpec forward_spec(const LinearShape& shape, Dtype dtype) {
  return {.m = shape.rows,
          .n = shape.out,
          .k = shape.in,
          .transpose_b = true,
          .input = dtype,
          .output = dtype,
          .alignment = alignment_of(shape.in, shape.out, dtype)};
}
ProductSpec weight_spec(const LinearShape& shape, Dtype dtype, Dtype gradients) {
  return {.m = shape.out,
          .n = shape.in,
          .k = shape.rows,
          .transpose_a = true,
          .input = dtype,
          .output = gradients,
          .alignment = alignment_of(shape.in, shape.out, dtype)};
}
ProductSpec input_spec(const LinearShape& shape, Dtype dtype) {
  return {.m = shape.rows,
          .n = shape.in,
          .k = shape.out,
          .input = dtype,
          .output = dtype,
          .alignment = alignment_of(shape.in, shape.out, dtype)};
}

}  // namespace

ProductPolicy policy_of(const BackendOptions& options) {
  return {.device = options.device, .tf32 = options.tf32, .tune = options.tune};
}

LinearProducts::LinearProducts(const LinearShape& shape, const BackendOptions& options,
                               const Epilogue& epilogue, const Epilogue& input_from)
    : shape_(shape),
      dtype_(options.compute),
      device_(options.device),
      epilogue_(epilogue),
      input_from_(input_from) {
  const ProductPolicy policy = policy_of(options);
  ProductSpec forward = forward_spec(shape, dtype_);
  forward.tail = tail_of(epilogue, dtype_);
  forward.bias = shape.bias;
  if (forward.tail != Tail::none || epilogue.activation == Activation::none)
    forward_ = Product::try_make(forward, policy);
  if (!forward_) forward_plain_.emplace(forward_spec(shape, dtype_), policy);
  weight_.emplace(weight_spec(shape, dtype_, options.gradients), policy);
  ProductSpec input = input_spec(shape, dtype_);
  input.tail = Tail::gelu_gradient;
  if (tail_of(input_from, dtype_) == Tail::gelu) input_ = Product::try_make(input, policy);
  if (!input_) input_plain_.emplace(input_spec(shape, dtype_), policy);
}

std::size_t LinearProducts::workspace_bytes() const {
  return kProductWorkspace + (shape_.bias ? column_sums_bytes(out_rows()) : 0);
}

void LinearProducts::forward(const Forward& f, const Weights& weights, void* workspace,
                             Stream& stream) const {
  Product::Operands operands{
      .a = f.x, .b = weights.weight, .c = f.y, .added = f.added, .bias = weights.bias, .beside = f.kept};
  if (forward_) return forward_->run(operands, workspace, stream);
  forward_plain_->run(operands, workspace, stream);
  const float* bias = shape_.bias ? weights.wide_bias : nullptr;
  if (bias == nullptr && epilogue_.activation == Activation::none) return;
  bias_activation(f.y, f.kept, bias, out_rows(), dtype_, epilogue_,
                  {device_, lockstep::cuda::native(stream)});
}

void LinearProducts::weight_gradient(const void* dy, const void* x, const GradientSlot& weight,
                                     const GradientSlot& bias, void* workspace, Stream& stream) const {
  weight_->run({.a = dy, .b = x, .c = weight.data, .added = weight.add ? weight.data : nullptr}, workspace,
               stream);
  if (!shape_.bias) return;
  column_sums(dy, out_rows(), dtype_, bias, static_cast<std::byte*>(workspace) + kProductWorkspace,
              {device_, lockstep::cuda::native(stream)});
}

void LinearProducts::input_gradient(const void* dy, const void* weight, void* dx, bool add, const void* seen,
                                    void* workspace, Stream& stream) const {
  Product::Operands operands{.a = dy, .b = weight, .c = dx, .added = add ? dx : nullptr};
  if (input_) {
    operands.beside = const_cast<void*>(seen);
    return input_->run(operands, workspace, stream);
  }
  input_plain_->run(operands, workspace, stream);
  if (input_from_.activation != Activation::none)
    activation_gradient(seen, dx, shape_.rows * shape_.in, dtype_, input_from_,
                        {device_, lockstep::cuda::native(stream)});
}

}  // namespace lockstep::models::cuda
