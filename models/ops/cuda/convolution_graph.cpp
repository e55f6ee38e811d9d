#include "models/ops/cuda/convolution_graph.h"

#include <array>
#include <vector>

namespace lockstep::models::cuda {
namespace {

constexpr std::int64_t kAlignment = 16;  // bytes; activations, slots and workspace all have more

cudnnDataType_t type_of(Dtype dtype) {
  if (dtype == Dtype::bf16) return CUDNN_DATA_BFLOAT16;
  return dtype == Dtype::f16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

/// A tensor of canonical shape with its second axis innermost.
Descriptor tensor(const Shape& shape, Dtype dtype, Uid uid) {
  const std::int64_t c = shape[1], h = shape[2], w = shape[3];
  const std::vector<std::int64_t> sizes{shape[0], c, h, w}, strides{c * h * w, 1, w * c, c};
  const std::int64_t id = uid;
  Descriptor t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type_of(dtype))
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment)
      .finalise();
  return t;
}

/// Rows or columns of padding after the image, such that cuDNN arrives at the result's size: a transposed
/// convolution's output padding takes some away.
std::int64_t padding_after(const ConvolutionGeometry& g, std::size_t axis) {
  const std::int64_t size = g.image[2 + axis], reach = g.dilation[axis] * (g.kernel[axis] - 1) + 1;
  const std::int64_t results = (size + 2 * g.padding[axis] - reach) / g.stride[axis] + 1;
  if (results == g.result[2 + axis]) return g.padding[axis];
  return (g.result[2 + axis] - 1) * g.stride[axis] + reach - size - g.padding[axis];
}

Descriptor convolution(const ConvolutionGeometry& g) {
  const std::int64_t spatial = 2;
  const auto axes = [](const Pair& p) { return std::vector<std::int64_t>{p[0], p[1]}; };
  Descriptor c(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  c.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, spatial)
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, axes(g.padding))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {padding_after(g, 0), padding_after(g, 1)})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, axes(g.dilation))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, axes(g.stride))
      .finalise();
  return c;
}

/// The names of one direction's operation and of its attributes.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t image, weight, result, convolution, alpha, beta;
};
const Names& names_of(Direction direction) {
  static constexpr std::array<Names, 3> kNames{
      Names{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
      Names{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
      Names{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
  return kNames[static_cast<std::size_t>(direction)];
}

}  // namespace

Descriptor graph_of(const ConvolutionRequest& r, cudnnHandle_t handle) {
  const auto dtype = [&](Direction written) { return r.direction == written ? r.written : r.dtype; };
  const Descriptor image = tensor(r.geometry.image, dtype(Direction::image_gradient), kImage);
  const Descriptor weight = tensor(r.geometry.weight(), dtype(Direction::weight_gradient), kWeight);
  const Descriptor result = tensor(r.geometry.result, dtype(Direction::forward), kResult);
  const Descriptor how = convolution(r.geometry);
  const Names& names = names_of(r.direction);
  Descriptor operation(names.operation);
  operation.set(names.image, image)
      .set(names.weight, weight)
      .set(names.result, result)
      .set(names.convolution, how)
      .set(names.alpha, CUDNN_TYPE_FLOAT, 1.0F)
      .set(names.beta, CUDNN_TYPE_FLOAT, r.add ? 1.0F : 0.0F)
      .finalise();
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle)
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation)
      .finalise();
  return graph;
}

}  // namespace lockstep::models::cuda
