// The three products of a linear layer y = x W^T + b with x [rows, in], W [out, in], y [rows, out]: forward,
// the gradient of x, the gradients of W and b. For the kernels that contain a linear layer.
#pragma once

#include <optional>

#include "models/ops/cuda/kernel_base.h"
#include "models/ops/cuda/product.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {

struct LinearShape {
  std::int64_t rows, in, out;
  bool bias;
};

[[nodiscard]] ProductPolicy policy_of(const BackendOptions& options);

class LinearProducts {
 public:
  /// `epilogue` follows the layer. `input_from` is the activation that made x, none if x comes from
  /// elsewhere: its gradient then joins that of x.
  LinearProducts(const LinearShape& shape, const BackendOptions& options, const Epilogue& epilogue,
                 const Epilogue& input_from = {});

  struct Weights {
    const void* weight;      ///< compute dtype
    const void* bias;        ///< compute dtype
    const float* wide_bias;  ///< f32
  };
  struct Forward {
    const void* x;
    void* y;
    const void* added;  ///< joins y, or null
    void* kept;         ///< y before GELU
  };
  void forward(const Forward& f, const Weights& weights, void* workspace, Stream& stream) const;

  /// Gradients of W and b from dy; `scratch` lies behind the products' workspace.
  void weight_gradient(const void* dy, const void* x, const GradientSlot& weight, const GradientSlot& bias,
                       void* workspace, Stream& stream) const;
  /// dx (+)= dy W, times the derivative of what made x (`seen`, as reads_input() says).
  void input_gradient(const void* dy, const void* weight, void* dx, bool add, const void* seen,
                      void* workspace, Stream& stream) const;

  /// Of a workspace: the products' part and the scratch behind it.
  [[nodiscard]] std::size_t workspace_bytes() const;

 private:
  [[nodiscard]] Rows out_rows() const { return {shape_.rows, shape_.out}; }

  LinearShape shape_;
  Dtype dtype_;
  Device device_;
  Epilogue epilogue_, input_from_;
  std::optional<Product> forward_, forward_plain_, weight_, input_, input_plain_;
};

}  // namespace lockstep::models::cuda
