#include "onnx_graph.h"

#include <algorithm>

namespace lockstep::models::testing {

Split split(const Shape& shape, std::int64_t axis) {
  if (axis < 0) axis += shape.rank();
  Split parts;
  for (int i = 0; i < shape.rank(); ++i)
    (i < axis ? parts.before : i == axis ? parts.at : parts.after) *= shape[i];
  return parts;
}

std::int64_t from_axis(const Shape& shape, std::int64_t axis) {
  const Split parts = split(shape, axis);
  return parts.at * parts.after;
}

Shape sample_of(const Shape& batch) {
  return Shape(std::vector<std::int64_t>(batch.extents().begin() + 1, batch.extents().end()));
}

Pair pair_of(const std::vector<std::int64_t>& values, std::size_t first) {
  return {values[first], values[first + 1]};
}

Pads pads_of(const OnnxCase& each) {
  const std::string mode = each.text("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode == "VALID") {
    const auto pads = each.integers("pads", {0, 0, 0, 0});
    return {pair_of(pads), pair_of(pads, 2)};
  }
  const Pair kernel = pair_of(each.integers("kernel_shape", {3, 3}));
  const Pair stride = pair_of(each.integers("strides", {1, 1}));
  Pads pads;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t extent = each.inputs[0].shape[static_cast<int>(i) + 2];
    const std::int64_t places = (extent + stride[i] - 1) / stride[i];
    const std::int64_t total = std::max<std::int64_t>(0, (places - 1) * stride[i] + kernel[i] - extent);
    pads.begin[i] = mode == "SAME_LOWER" ? (total + 1) / 2 : total / 2;
    pads.end[i] = total - pads.begin[i];
  }
  return pads;
}

Values run_plain(const OnnxCase& each, std::string_view backend, const OpSpec& op, const Shape& batch,
                 Mode mode) {
  OnBackend run(backend, batch[0], [&](GraphBuilder& b) {
    b.predict(b.apply(op, {b.input(sample_of(batch), Dtype::f32)}, "op"));
  });
  return run.predict(each.inputs[0].values, mode);
}

}  // namespace lockstep::models::testing
