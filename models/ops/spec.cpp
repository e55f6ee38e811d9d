// Names of the operations.
#include "models/ops/spec.h"

namespace lockstep::models {
namespace {

struct NameOf {
  const char* operator()(const Conv2d&) const { return "conv2d"; }
  const char* operator()(const ConvTranspose2d&) const { return "conv_transpose2d"; }
  const char* operator()(const BatchNorm&) const { return "batch_norm"; }
  const char* operator()(const LayerNorm&) const { return "layer_norm"; }
  const char* operator()(const Linear&) const { return "linear"; }
  const char* operator()(const Relu&) const { return "relu"; }
  const char* operator()(const LeakyRelu&) const { return "leaky_relu"; }
  const char* operator()(const Gelu&) const { return "gelu"; }
  const char* operator()(const MaxPool&) const { return "max_pool"; }
  const char* operator()(const AveragePool&) const { return "average_pool"; }
  const char* operator()(const GlobalAveragePool&) const { return "global_average_pool"; }
  const char* operator()(const Dropout&) const { return "dropout"; }
  const char* operator()(const Embedding&) const { return "embedding"; }
  const char* operator()(const PositionEmbedding&) const { return "position_embedding"; }
  const char* operator()(const CausalAttention&) const { return "causal_attention"; }
  const char* operator()(const Add&) const { return "add"; }
  const char* operator()(const Concat&) const { return "concat"; }
  const char* operator()(const ShortcutA&) const { return "shortcut_a"; }
  const char* operator()(const Flatten&) const { return "flatten"; }
  const char* operator()(const Resize&) const { return "resize"; }
  const char* operator()(const TiedLinear&) const { return "tied_linear"; }
  const char* operator()(const SoftmaxCrossEntropy&) const { return "softmax_cross_entropy"; }
  const char* operator()(const MeanSquaredError&) const { return "mse"; }
  const char* operator()(const SmoothL1&) const { return "smooth_l1"; }
};

}  // namespace

const char* op_name(const OpSpec& spec) noexcept { return std::visit(NameOf{}, spec); }

}  // namespace lockstep::models
