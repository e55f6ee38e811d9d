// What each operation of the graph is: its settings, without data. Shapes follow PyTorch: images [N, C, H,
// W], sequences [N, T, C]; N is the microbatch size and fixed.
#pragma once

#include <array>
#include <cstdint>
#include <variant>

namespace lockstep::models {

using Pair = std::array<std::int64_t, 2>;  ///< (height, width)

struct Conv2d {  ///< parameters: weight [out, in / groups, kh, kw], bias [out] if any
  std::int64_t out_channels = 0;
  Pair kernel{3, 3}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  std::int64_t groups = 1;
  bool bias = true;
};
struct ConvTranspose2d {  ///< parameters: weight [in, out / groups, kh, kw], bias [out] if any
  std::int64_t out_channels = 0;
  Pair kernel{2, 2}, stride{2, 2}, padding{0, 0}, output_padding{0, 0}, dilation{1, 1};
  std::int64_t groups = 1;
  bool bias = true;
};
/// Parameters weight, bias [C]; state running_mean, running_var [C]. Training normalises by the microbatch
/// (or, synchronised, by the sum over ranks) and writes the microbatch mean and unbiased variance to
/// Pass::statistics; the trainer updates the running values once a step: running = (1 - momentum) * running +
/// momentum * mean over microbatches.
struct BatchNorm {
  float epsilon = 1e-5f;
  float momentum = 0.1f;
  bool synchronised = false;
};
struct LayerNorm {
  float epsilon = 1e-5f;
};               ///< over the last axis; parameters weight, bias
struct Linear {  ///< over the last axis; parameters weight [out, in], bias [out] if any
  std::int64_t out_features = 0;
  bool bias = true;
};
struct Relu {};
struct LeakyRelu {
  float slope = 0.01f;
};
struct Gelu {
  bool tanh = true;
};  ///< tanh approximation (GPT-2) or exact
struct MaxPool {
  Pair kernel{2, 2}, stride{2, 2}, padding{0, 0};
};
struct AveragePool {
  Pair kernel{2, 2}, stride{2, 2}, padding{0, 0};
  bool count_padding = true;
};
struct GlobalAveragePool {};  ///< [N, C, H, W] -> [N, C]
struct Dropout {
  float rate = 0.1f;
};  ///< mask = f(seed, "dropout:" + node name, global sample, element); kept values / (1 - rate)
struct Embedding {
  std::int64_t vocabulary = 0, width = 0;
};  ///< i32 [N, T] -> [N, T, width]; parameter weight
struct PositionEmbedding {
  std::int64_t context = 0;
};  ///< adds weight[t] to [N, T, C]; parameter weight [context, C]
struct CausalAttention {
  std::int64_t heads = 1;
  float dropout = 0;
};                 ///< qkv [N, T, 3C] -> [N, T, C]; q, k, v one after another
struct Add {};     ///< equal shapes
struct Concat {};  ///< along channels (axis 1)
struct ShortcutA {
  std::int64_t out_channels = 0;
  std::int64_t stride = 2;
};                  ///< subsample and zero-pad channels evenly on both sides (He et al. 2016, option A)
struct Flatten {};  ///< [N, ...] -> [N, rest]
struct Resize {
  std::int64_t scale = 2;
};  ///< bilinear, half-pixel centres (align_corners = false)
/// Tied output layer of a language model: logits = x weight^T with the Embedding's weight.
struct TiedLinear {};

// Losses: (prediction, target) -> per-row losses [rows] f32, a row being a sample, a token or a pixel; a row
// that does not count holds kIgnoredRow. The scalar loss is the mean over rows that count; its gradient
// starts backward.
struct SoftmaxCrossEntropy {
  float label_smoothing = 0;
  std::int64_t ignore_index = -100;
};                           ///< [N, K], [N, T, K] or [N, K, H, W]; target i32
struct MeanSquaredError {};  ///< row = sample: mean over its elements
struct SmoothL1 {
  float beta = 1;
};  ///< row = sample

using OpSpec = std::variant<Conv2d, ConvTranspose2d, BatchNorm, LayerNorm, Linear, Relu, LeakyRelu, Gelu,
                            MaxPool, AveragePool, GlobalAveragePool, Dropout, Embedding, PositionEmbedding,
                            CausalAttention, Add, Concat, ShortcutA, Flatten, Resize, TiedLinear,
                            SoftmaxCrossEntropy, MeanSquaredError, SmoothL1>;

/// "conv2d", "batch_norm", ...
[[nodiscard]] const char* op_name(const OpSpec& spec) noexcept;

}  // namespace lockstep::models
