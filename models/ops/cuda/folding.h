// The first convolution of a network sees 1 or 3 channels, often with a stride; the library's fast kernels
// want multiples of 8 channels. Its image is folded: the s x s pixels of a stride become channels of one
// pixel, zero channels follow up to a multiple of 8, and the border is stored, so that a convolution with
// stride 1 and no padding does the same (output row p, tap r: image row s p - padding + r).
#pragma once

#include <array>
#include <cstdint>

#include "models/ops/cuda/convolution_plan.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {

/// One axis: folded row Z holds image rows stride Z - border + d, 0 <= d < stride.
struct FoldedAxis {
  int size, stride, kernel;  ///< of the given convolution
  int border;                ///< its padding, rounded up to strides
  int shift;  ///< border - padding: tap r lies at (r + shift) / stride, d = (r + shift) % stride
  int folded_size, folded_kernel;  ///< of the folded convolution
};
struct Folding {
  std::array<FoldedAxis, 2> axes;
  int images, channels, folded_channels, results;
};

/// Needs groups = 1 and dilation = 1.
[[nodiscard]] Folding folding_of(const ConvolutionGeometry& geometry);
[[nodiscard]] ConvolutionGeometry folded(const ConvolutionGeometry& geometry);

/// Enqueue; `dtype` is that of the tensors read.
void fold_image(const Folding& f, const void* image, void* folded, Dtype dtype, const On& on);
void fold_weight(const Folding& f, const void* weight, void* folded, Dtype dtype, const On& on);
/// gradient (+)= the folded weight's.
void unfold_gradient(const Folding& f, const void* folded, Dtype dtype, const GradientSlot& gradient,
                     const On& on);

}  // namespace lockstep::models::cuda
