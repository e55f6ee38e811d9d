// Operators that slide a window over images.
#include "onnx_operators.h"

namespace lockstep::models::testing {

Values run_conv(const OnnxCase& each, std::string_view backend) {
  const Shape &x = each.inputs[0].shape, &w = each.inputs[1].shape;
  const Conv2d op{.out_channels = w[0],
                  .kernel = {w[2], w[3]},
                  .stride = pair_of(each.integers("strides", {1, 1})),
                  .padding = pads_of(each).begin,
                  .dilation = pair_of(each.integers("dilations", {1, 1})),
                  .groups = each.integer("group", 1),
                  .bias = false};
  OnBackend run(backend, x[0], [&](GraphBuilder& b) {
    b.predict(b.conv2d(b.input(sample_of(x), Dtype::f32), "op", op, {}));
  });
  run.set("op.weight", each.inputs[1].values);
  return run.predict(each.inputs[0].values);
}

namespace {

/// A 1-D case is one of height 1.
Shape as_image(const Shape& shape) {
  return shape.rank() == 4 ? shape : Shape{shape[0], shape[1], 1, shape[2]};
}

}  // namespace

Values run_conv_transpose(const OnnxCase& each, std::string_view backend) {
  const Shape x = as_image(each.inputs[0].shape), w = as_image(each.inputs[1].shape);
  ConvTranspose2d op{.out_channels = w[1] * each.integer("group", 1),
                     .kernel = {w[2], w[3]},
                     .stride = pair_of(each.integers("strides", {1, 1})),
                     .padding = pads_of(each).begin,
                     .output_padding = pair_of(each.integers("output_padding", {0, 0})),
                     .dilation = pair_of(each.integers("dilations", {1, 1})),
                     .groups = each.integer("group", 1),
                     .bias = false};
  if (each.has("output_shape")) {
    const auto wanted = each.integers("output_shape", {});
    for (std::size_t i = 0; i < 2; ++i) {
      op.output_padding[i] = wanted[i] - ((x[static_cast<int>(i) + 2] - 1) * op.stride[i] + op.kernel[i]);
    }
  }
  OnBackend run(backend, x[0], [&](GraphBuilder& b) {
    b.predict(b.conv_transpose2d(b.input(sample_of(x), Dtype::f32), "op", op, {}));
  });
  run.set("op.weight", each.inputs[1].values);
  return run.predict(each.inputs[0].values);
}

Values run_pool(const OnnxCase& each, std::string_view backend) {
  const Pair kernel = pair_of(each.integers("kernel_shape", {}));
  const Pair stride = pair_of(each.integers("strides", {1, 1}));
  const Pair padding = pads_of(each).begin;
  const Shape& batch = each.inputs[0].shape;
  if (each.op == "MaxPool") return run_plain(each, backend, MaxPool{kernel, stride, padding}, batch);
  const bool count_padding = each.integer("count_include_pad", 0) != 0;
  return run_plain(each, backend, AveragePool{kernel, stride, padding, count_padding}, batch);
}

Values run_global_pool(const OnnxCase& each, std::string_view backend) {
  return run_plain(each, backend, GlobalAveragePool{}, each.inputs[0].shape);
}

}  // namespace lockstep::models::testing
