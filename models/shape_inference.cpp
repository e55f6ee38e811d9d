// One overload of `shape_of` per operation: checks the input shapes, returns the output shape.
#include "models/shape_inference.h"

#include <spdlog/fmt/fmt.h>

#include <variant>

#include "core/error.h"

namespace lockstep::models {
namespace {

/// The node under inference: where errors get their words from.
struct Site {
  const std::string& node;
  const char* op;
  std::span<const Shape> inputs;

  [[noreturn]] void refuse(const std::string& why, const std::string& hint = {}) const {
    throw Error(Fault::config, fmt::format("node '{}' ({}): {}", node, op, why), hint);
  }
  void expect(bool holds, const std::string& why, const std::string& hint = {}) const {
    if (!holds) refuse(why, hint);
  }
  void expect_inputs(std::size_t count) const {
    expect(inputs.size() == count, fmt::format("takes {} input(s), got {}", count, inputs.size()));
  }
  /// Input 0, checked to have `rank` axes.
  const Shape& only(int rank, const char* axes) const {
    expect_inputs(1);
    expect(inputs[0].rank() == rank, fmt::format("wants an input {}, got {}", axes, inputs[0].text()));
    return inputs[0];
  }
  const Shape& image() const { return only(4, "[N, C, H, W]"); }
};

/// One sliding axis of a pooling or convolution: all that its output extent depends on.
struct Window {
  std::int64_t kernel, stride, padding, dilation;
};

std::int64_t slide(const Site& site, std::int64_t extent, const Window& window) {
  site.expect(window.kernel > 0 && window.stride > 0 && window.padding >= 0 && window.dilation > 0,
              fmt::format("kernel {}, stride {}, padding {}, dilation {}: all but padding must be positive",
                          window.kernel, window.stride, window.padding, window.dilation));
  const auto places = window_places(extent, window.kernel, window.stride, window.padding, window.dilation);
  site.expect(places > 0,
              fmt::format("a kernel of {} (dilation {}) does not fit an extent of {} padded by {}",
                          window.kernel, window.dilation, extent, window.padding),
              "use larger inputs, fewer downsampling stages or more padding");
  return places;
}

void check_groups(const Site& site, std::int64_t in, std::int64_t out, std::int64_t groups) {
  site.expect(out > 0, fmt::format("out_channels is {}", out));
  site.expect(groups > 0 && in % groups == 0 && out % groups == 0,
              fmt::format("{} groups do not divide {} input and {} output channels", groups, in, out));
}

Shape shape_of(const Conv2d& op, const Site& site) {
  const Shape& x = site.image();
  check_groups(site, x[1], op.out_channels, op.groups);
  const auto height = slide(site, x[2], {op.kernel[0], op.stride[0], op.padding[0], op.dilation[0]});
  const auto width = slide(site, x[3], {op.kernel[1], op.stride[1], op.padding[1], op.dilation[1]});
  return {x[0], op.out_channels, height, width};
}

Shape shape_of(const ConvTranspose2d& op, const Site& site) {
  const Shape& x = site.image();
  check_groups(site, x[1], op.out_channels, op.groups);
  Pair extent{};
  for (std::size_t i = 0; i < 2; ++i) {
    site.expect(op.kernel[i] > 0 && op.stride[i] > 0 && op.padding[i] >= 0 && op.dilation[i] > 0,
                fmt::format("kernel {}, stride {}, padding {}, dilation {}: all but padding must be positive",
                            op.kernel[i], op.stride[i], op.padding[i], op.dilation[i]));
    const auto limit = std::max(op.stride[i], op.dilation[i]);
    site.expect(op.output_padding[i] >= 0 && op.output_padding[i] < limit,
                fmt::format("output_padding {} must be less than stride or dilation", op.output_padding[i]));
    extent[i] = (x[static_cast<int>(i) + 2] - 1) * op.stride[i] - 2 * op.padding[i] +
                op.dilation[i] * (op.kernel[i] - 1) + op.output_padding[i] + 1;
    site.expect(extent[i] > 0, fmt::format("padding {} leaves no output for {}", op.padding[i], x.text()));
  }
  return {x[0], op.out_channels, extent[0], extent[1]};
}

Shape shape_of(const BatchNorm& op, const Site& site) {
  site.expect_inputs(1);
  const Shape& x = site.inputs[0];
  site.expect(x.rank() == 4 || x.rank() == 2,
              fmt::format("wants an input [N, C, H, W] or [N, C], got {}", x.text()));
  site.expect(op.epsilon > 0, "epsilon must be positive");
  return x;
}

Shape shape_of(const LayerNorm& op, const Site& site) {
  site.expect_inputs(1);
  site.expect(site.inputs[0].rank() >= 2 && op.epsilon > 0,
              fmt::format("wants at least two axes and a positive epsilon, got {}", site.inputs[0].text()));
  return site.inputs[0];
}

Shape replace_last(const Shape& shape, std::int64_t extent) {
  auto extents = shape.extents();
  extents.back() = extent;
  return Shape(std::move(extents));
}

Shape shape_of(const Linear& op, const Site& site) {
  site.expect_inputs(1);
  site.expect(site.inputs[0].rank() >= 2 && op.out_features > 0,
              fmt::format("wants [..., features] and a positive out_features, got {} and {}",
                          site.inputs[0].text(), op.out_features),
              "flatten images before a linear layer");
  return replace_last(site.inputs[0], op.out_features);
}

Shape same_shape(const Site& site) {
  site.expect_inputs(1);
  return site.inputs[0];
}
Shape shape_of(const Relu&, const Site& site) { return same_shape(site); }
Shape shape_of(const LeakyRelu&, const Site& site) { return same_shape(site); }
Shape shape_of(const Gelu&, const Site& site) { return same_shape(site); }
Shape shape_of(const Dropout& op, const Site& site) {
  site.expect(op.rate >= 0 && op.rate < 1, fmt::format("rate {} is not in [0, 1)", op.rate));
  return same_shape(site);
}

template <class Pool>
Shape pooled(const Pool& op, const Site& site) {
  const Shape& x = site.image();
  for (std::size_t i = 0; i < 2; ++i) {
    site.expect(
        op.padding[i] < op.kernel[i],
        fmt::format("padding {} leaves windows of {} without an element", op.padding[i], op.kernel[i]));
  }
  const auto height = slide(site, x[2], {op.kernel[0], op.stride[0], op.padding[0], 1});
  const auto width = slide(site, x[3], {op.kernel[1], op.stride[1], op.padding[1], 1});
  return {x[0], x[1], height, width};
}
Shape shape_of(const MaxPool& op, const Site& site) { return pooled(op, site); }
Shape shape_of(const AveragePool& op, const Site& site) { return pooled(op, site); }
Shape shape_of(const GlobalAveragePool&, const Site& site) { return {site.image()[0], site.image()[1]}; }

Shape shape_of(const Embedding& op, const Site& site) {
  const Shape& ids = site.only(2, "[N, T]");
  site.expect(op.vocabulary > 0 && op.width > 0,
              fmt::format("vocabulary {} and width {} must be positive", op.vocabulary, op.width));
  return {ids[0], ids[1], op.width};
}

Shape shape_of(const PositionEmbedding& op, const Site& site) {
  const Shape& x = site.only(3, "[N, T, C]");
  site.expect(x[1] <= op.context, fmt::format("{} positions do not fit a context of {}", x[1], op.context),
              "raise the model's context or shorten the samples");
  return x;
}

Shape shape_of(const CausalAttention& op, const Site& site) {
  const Shape& x = site.only(3, "[N, T, 3C]");
  site.expect(op.heads > 0 && x[2] % (3 * op.heads) == 0,
              fmt::format("{} does not split into q, k, v of {} heads", x.text(), op.heads),
              "make the width a multiple of the number of heads");
  site.expect(op.dropout >= 0 && op.dropout < 1, fmt::format("dropout {} is not in [0, 1)", op.dropout));
  return {x[0], x[1], x[2] / 3};
}

Shape shape_of(const Add&, const Site& site) {
  site.expect_inputs(2);
  site.expect(site.inputs[0] == site.inputs[1],
              fmt::format("shapes {} and {} differ", site.inputs[0].text(), site.inputs[1].text()));
  return site.inputs[0];
}

Shape shape_of(const Concat&, const Site& site) {
  site.expect(site.inputs.size() >= 2, "takes at least two inputs");
  auto extents = site.inputs[0].extents();
  site.expect(extents.size() >= 2, fmt::format("wants at least [N, C], got {}", site.inputs[0].text()));
  for (const Shape& other : site.inputs.subspan(1)) {
    auto rest = other.extents();
    site.expect(rest.size() == extents.size(), "inputs have different numbers of axes");
    const auto channels = rest[1];
    rest[1] = extents[1];
    site.expect(rest == extents, fmt::format("{} and {} differ outside the channel axis",
                                             site.inputs[0].text(), other.text()));
    extents[1] += channels;
  }
  return Shape(std::move(extents));
}

Shape shape_of(const ShortcutA& op, const Site& site) {
  const Shape& x = site.image();
  site.expect(op.stride > 0, fmt::format("stride {} must be positive", op.stride));
  site.expect(op.out_channels >= x[1] && (op.out_channels - x[1]) % 2 == 0,
              fmt::format("cannot pad {} channels evenly to {}", x[1], op.out_channels),
              "use option B (a 1x1 convolution)");
  return {x[0], op.out_channels, (x[2] - 1) / op.stride + 1, (x[3] - 1) / op.stride + 1};
}

Shape shape_of(const Flatten&, const Site& site) {
  site.expect_inputs(1);
  const Shape& x = site.inputs[0];
  site.expect(x.rank() >= 1, "wants at least one axis");
  std::int64_t rest = 1;
  for (int axis = 1; axis < x.rank(); ++axis) rest *= x[axis];
  return {x[0], rest};
}

Shape shape_of(const Resize& op, const Site& site) {
  const Shape& x = site.image();
  site.expect(op.scale > 0, fmt::format("scale {} must be positive", op.scale));
  return {x[0], x[1], x[2] * op.scale, x[3] * op.scale};
}

/// The builder appends the weight's shape as a second input: [vocabulary, width].
Shape shape_of(const TiedLinear&, const Site& site) {
  site.expect_inputs(2);
  const Shape& x = site.inputs[0];
  const Shape& weight = site.inputs[1];
  site.expect(x.rank() >= 2 && x[x.rank() - 1] == weight[1],
              fmt::format("{} does not end in the embedding's width {}", x.text(), weight[1]));
  return replace_last(x, weight[0]);
}

template <class Loss>
Shape loss_rows(const Loss& op, const Site& site) {
  site.expect_inputs(2);
  const Shape wanted = target_shape(op, site.inputs[0], site.node);
  site.expect(site.inputs[1] == wanted,
              fmt::format("a prediction {} wants a target {}, got {}", site.inputs[0].text(), wanted.text(),
                          site.inputs[1].text()));
  return std::is_same_v<Loss, SoftmaxCrossEntropy> ? Shape{wanted.count()} : Shape{site.inputs[0][0]};
}
Shape shape_of(const SoftmaxCrossEntropy& op, const Site& site) {
  site.expect(op.label_smoothing >= 0 && op.label_smoothing < 1,
              fmt::format("label_smoothing {} is not in [0, 1)", op.label_smoothing));
  return loss_rows(op, site);
}
Shape shape_of(const MeanSquaredError& op, const Site& site) { return loss_rows(op, site); }
Shape shape_of(const SmoothL1& op, const Site& site) {
  site.expect(op.beta > 0, fmt::format("beta {} must be positive", op.beta));
  return loss_rows(op, site);
}

}  // namespace

Shape infer_shape(const OpSpec& spec, std::span<const Shape> inputs, const std::string& node) {
  const Site site{node, op_name(spec), inputs};
  return std::visit([&](const auto& op) { return shape_of(op, site); }, spec);
}

Shape target_shape(const OpSpec& loss, const Shape& prediction, const std::string& node) {
  if (!std::holds_alternative<SoftmaxCrossEntropy>(loss)) return prediction;
  const auto& extents = prediction.extents();
  switch (prediction.rank()) {
    case 2:
      return {extents[0]};
    case 3:
      return {extents[0], extents[1]};
    case 4:
      return {extents[0], extents[2], extents[3]};
    default:
      throw Error(Fault::config,
                  fmt::format("node '{}': cross-entropy wants a prediction [N, K], [N, T, K] or "
                              "[N, K, H, W], got {}",
                              node, prediction.text()));
  }
}

bool is_loss(const OpSpec& spec) noexcept {
  return std::holds_alternative<SoftmaxCrossEntropy>(spec) ||
         std::holds_alternative<MeanSquaredError>(spec) || std::holds_alternative<SmoothL1>(spec);
}

std::int64_t window_places(std::int64_t extent, std::int64_t kernel, std::int64_t stride,
                           std::int64_t padding, std::int64_t dilation) noexcept {
  const std::int64_t room = extent + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

}  // namespace lockstep::models
