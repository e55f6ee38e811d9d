// The oneDNN side of a convolution: its three primitives in layouts this backend stores, and the storage
// order of its weight. A transposed convolution is the gradient of a convolution with respect to its input,
// so the same plan serves both with the roles of source and destination swapped, and PyTorch's weight shapes
// agree. Include it in .cpp files only.
#pragma once

#include <string>

#include "models/ops/cpu/primitive.h"
#include "models/ops/spec.h"

namespace lockstep::models::cpu {

/// A plain convolution between `source` and `destination` images.
struct ConvolutionGeometry {
  Shape source, destination;
  Pair kernel, stride, padding, dilation;
  std::int64_t groups;
};

class ConvolutionPlan {
 public:
  struct Wants {
    Dtype compute;
    bool bias;  ///< added and differentiated by the primitives
    bool relu;  ///< after the forward primitive
    float slope;
    bool transposed;      ///< the layer runs backward-data as its forward
    bool input_gradient;  ///< of the layer
  };
  ConvolutionPlan(const ConvolutionGeometry& geometry, const Wants& wants);

  /// The order in which the layer's weight is stored.
  [[nodiscard]] const StorageOrderPtr& weight_order() const noexcept { return weight_order_; }
  /// Bytes of scratch that any of the calls needs.
  [[nodiscard]] std::size_t scratch_bytes() const noexcept { return scratch_bytes_; }

  struct Weights {
    const void* weight;
    const void* bias;  ///< f32, or null
  };
  struct WeightGradients {
    float* weight;
    float* bias;  ///< or null
    bool add;
  };
  /// destination = convolution of source.
  void convolve(const void* source, const Weights& weights, void* destination, void* scratch);
  /// source = gradient with respect to the source.
  void convolve_back(const void* destination, const Weights& weights, void* source, void* scratch);
  void weight_gradient(const void* source, const void* destination, const WeightGradients& gradients,
                       void* scratch);

 private:
  /// A primitive, and a reorder of its weight when it wants another layout than the stored one.
  struct Step {
    onednn::Primitive primitive, reorder;
    std::size_t own_scratch = 0, weight_bytes = 0;
  };
  void plan_forward(const dnnl::convolution_forward::primitive_desc& pd, const Wants& wants);
  void plan_data(const dnnl::convolution_backward_data::primitive_desc& pd);
  void plan_weights(const dnnl::convolution_backward_weights::primitive_desc& pd, const Wants& wants);
  void adopt(Step& step, const onednn::Layout& weight, std::size_t scratch);
  const void* weight_for(Step& step, const void* stored, void* scratch);

  onednn::Layout stored_;  ///< of the weight, in the compute dtype
  StorageOrderPtr weight_order_;
  Step forward_, data_, weights_;
  std::vector<std::int32_t> stored_places_;  ///< of canonical elements; empty when gradients need no move
  std::vector<std::int32_t> gradient_places_;
  std::size_t gradient_count_ = 0, bias_count_ = 0;
  std::size_t scratch_bytes_ = 0;
};

}  // namespace lockstep::models::cpu
