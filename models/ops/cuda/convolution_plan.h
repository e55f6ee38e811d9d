// One direction of a convolution, prepared: forward, the gradient of the image or the gradient of the weight.
// A plan has no memory of its own, so convolutions of equal geometry share one. Images are [N, H, W, C],
// weights [K, R, S, C / groups].
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "models/ops/spec.h"

namespace lockstep::models::cuda {

/// A convolution from `image` [N, C, H, W] to `result` [N, K, P, Q].
struct ConvolutionGeometry {
  Shape image, result;
  Pair kernel, stride, padding, dilation;
  std::int64_t groups = 1;

  [[nodiscard]] Shape weight() const { return {result[1], image[1] / groups, kernel[0], kernel[1]}; }
};

enum class Direction : std::uint8_t { forward, image_gradient, weight_gradient };

struct ConvolutionRequest {
  Direction direction = Direction::forward;
  ConvolutionGeometry geometry;
  Dtype dtype = Dtype::f32;  ///< of what is read
  Dtype written = Dtype::f32;
  bool add = false;         ///< to what lies in the target
  bool tf32 = false;        ///< f32 products may round their operands
  bool tune = false;        ///< time the library's candidates, else take its first
  bool repeatable = false;  ///< only engines that give the same bits again (also where nothing is timed)
  Device device;
};

/// The three tensors, whichever is written: image (gradient), weight (gradient), result (gradient).
struct ConvolutionArrays {
  void *image = nullptr, *weight = nullptr, *result = nullptr;
};

class ConvolutionPlan {
 public:
  virtual ~ConvolutionPlan() = default;
  [[nodiscard]] virtual std::size_t workspace_bytes() const = 0;
  /// Milliseconds of one run as measured when made; 0 when nothing was timed.
  [[nodiscard]] virtual double measured_ms() const = 0;
  /// Enqueues.
  virtual void run(const ConvolutionArrays& arrays, void* workspace, cudaStream_t stream) const = 0;
};
using ConvolutionPlanPtr = std::shared_ptr<const ConvolutionPlan>;

/// cuDNN's plan, shared by equal requests; null when it has no engine for the request.
[[nodiscard]] ConvolutionPlanPtr cudnn_convolution(const ConvolutionRequest& request);
/// Plain loops for what cuDNN refuses: any geometry, `add` and dtype, in a fixed order.
[[nodiscard]] ConvolutionPlanPtr direct_convolution(const ConvolutionRequest& request);

/// "9.19.0": cuDNN as it runs.
[[nodiscard]] std::string cudnn_version();

}  // namespace lockstep::models::cuda
