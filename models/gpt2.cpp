// GPT-2 (Radford et al., 2019): pre-norm transformer decoder, tanh GELU, learned positions, output tied to
// the token embedding. Names are Hugging Face's; its files store the four matrices of a block transposed
// (Conv1D). Initial values as published: N(0, 0.02), projections into the residual stream scaled by
// 1 / sqrt(2 * layers).
#include <spdlog/fmt/fmt.h>

#include <array>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kSettings[] = {
    {"size", SettingType::text, "custom", "a published size; the keys below override it",
     "custom|124M|355M|774M|1558M"},
    {"layers", SettingType::integer, "4", "transformer blocks", "[1,inf)"},
    {"heads", SettingType::integer, "4", "attention heads", "[1,inf)"},
    {"width", SettingType::integer, "128", "channels of the residual stream", "[1,inf)"},
    {"context", SettingType::integer, "0", "positions; 0: the length of the samples (published sizes: 1024)",
     "[0,inf)"},
    {"dropout", SettingType::real, "0.1", "rate of embeddings, attention and residual branches", "[0,1)"},
};

struct Size {
  std::string_view name;
  std::int64_t layers, heads, width;
};
constexpr std::array<Size, 4> kSizes{
    {{"124M", 12, 12, 768}, {"355M", 24, 16, 1024}, {"774M", 36, 20, 1280}, {"1558M", 48, 25, 1600}}};
constexpr std::int64_t kPublishedContext = 1024;
constexpr float kDeviation = 0.02f;

class Gpt2 final : public Model {
 public:
  explicit Gpt2(const Options& options)
      : layers_(options.integer("layers")),
        heads_(options.integer("heads")),
        width_(options.integer("width")),
        context_(options.integer("context")),
        dropout_(options.real("dropout")) {
    for (const Size& size : kSizes) {
      if (size.name != options.text("size")) continue;
      if (!options.given("layers")) layers_ = size.layers;
      if (!options.given("heads")) heads_ = size.heads;
      if (!options.given("width")) width_ = size.width;
      if (!options.given("context")) context_ = kPublishedContext;
    }
    if (width_ % heads_ != 0) {
      throw Error(
          Fault::config,
          fmt::format("{} is {}, which {} heads do not divide", options.where("width"), width_, heads_),
          "make the width a multiple of the number of heads");
    }
  }

  void build(GraphBuilder& builder, const Task& task) const override {
    if (task.input.rank() != 1 || task.input_dtype != Dtype::i32 || task.classes <= 0 ||
        task.target != task.input) {
      throw Error(
          Fault::config,
          fmt::format("model 'gpt2' takes tokens [T] and predicts the next ones, the data set has {} of {} "
                      "with targets {} of {} classes",
                      task.input.text(), name_of(task.input_dtype), task.target.text(), task.classes),
          "import text with 'lockstep data import text'");
    }
    int x = builder.input(task.input, task.input_dtype);
    x = builder.embedding(x, kTokens, {.vocabulary = task.classes, .width = width_},
                          Init::normal(kDeviation));
    const std::int64_t positions = context_ > 0 ? context_ : task.input[0];
    x = builder.position_embedding(x, "transformer.wpe", {positions}, Init::normal(kDeviation));
    x = dropout(builder, x, dropout_, "transformer.drop");
    for (std::int64_t i = 0; i < layers_; ++i) x = block(builder, x, fmt::format("transformer.h.{}", i));
    x = builder.layer_norm(x, "transformer.ln_f");
    builder.predict(builder.tied_linear(x, "lm_head", kTokens));
  }

  [[nodiscard]] std::vector<ForeignName> foreign_names() const override {
    std::vector<ForeignName> names;
    // Published files leave out the prefix; files saved from the language-model class have it.
    const auto both = [&](const std::string& name, bool transposed) {
      names.push_back({"transformer." + name, "transformer." + name, transposed});
      names.push_back({"transformer." + name, name, transposed});
    };
    both("wte.weight", false);
    names.push_back({std::string(kTokens) + ".weight", "lm_head.weight", false});
    both("wpe.weight", false);
    for (std::int64_t i = 0; i < layers_; ++i) {
      for (const char* matrix : {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}) {
        both(fmt::format("h.{}.{}.weight", i, matrix), true);
        both(fmt::format("h.{}.{}.bias", i, matrix), false);
      }
      for (const char* norm : {"ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"}) {
        both(fmt::format("h.{}.{}", i, norm), false);
      }
    }
    both("ln_f.weight", false);
    both("ln_f.bias", false);
    return names;
  }
  /// The causal masks that Hugging Face keeps beside the weights.
  [[nodiscard]] std::vector<std::string> ignored_endings() const override {
    return {".attn.bias", ".attn.masked_bias"};
  }

 private:
  static constexpr const char* kTokens = "transformer.wte";

  int block(GraphBuilder& builder, int x, const std::string& name) const {
    const float into_residual = kDeviation / std::sqrt(2.f * static_cast<float>(layers_));
    const auto matrix = [&](int from, const char* part, std::int64_t features, float deviation) {
      return builder.linear(from, name + part, Linear{.out_features = features}, Init::normal(deviation));
    };
    int y = builder.layer_norm(x, name + ".ln_1");
    y = matrix(y, ".attn.c_attn", 3 * width_, kDeviation);
    y = builder.apply(CausalAttention{.heads = heads_, .dropout = static_cast<float>(dropout_)}, {y},
                      name + ".attn");
    y = matrix(y, ".attn.c_proj", width_, into_residual);
    y = dropout(builder, y, dropout_, name + ".attn.resid_dropout");
    x = builder.apply(Add{}, {x, y}, name + ".attn.add");
    y = builder.layer_norm(x, name + ".ln_2");
    y = matrix(y, ".mlp.c_fc", 4 * width_, kDeviation);
    y = builder.apply(Gelu{.tanh = true}, {y}, name + ".mlp.act");
    y = matrix(y, ".mlp.c_proj", width_, into_residual);
    y = dropout(builder, y, dropout_, name + ".mlp.dropout");
    return builder.apply(Add{}, {x, y}, name + ".mlp.add");
  }

  std::int64_t layers_, heads_, width_, context_;
  double dropout_;
};

}  // namespace

std::span<const Setting> gpt2_settings() noexcept { return kSettings; }
std::unique_ptr<Model> make_gpt2(const Options& options) { return std::make_unique<Gpt2>(options); }

}  // namespace lockstep::models
