// A multi-layer perceptron: hidden layers with ReLU and dropout, on anything flattened, to classes or
// numbers.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "core/error.h"
#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kSettings[] = {
    {"hidden", SettingType::integers, "[256, 128, 100]", "widths of the hidden layers"},
    {"dropout", SettingType::real, "0", "rate after each hidden layer", "[0,1)"},
};

class Mlp final : public Model {
 public:
  explicit Mlp(const Options& options)
      : hidden_(options.integers("hidden")), dropout_(options.real("dropout")) {
    if (std::ranges::any_of(hidden_, [](std::int64_t width) { return width <= 0; })) {
      throw Error(Fault::config, fmt::format("{} has a width that is not positive", options.where("hidden")),
                  "give widths such as [256, 128]");
    }
  }

  void build(GraphBuilder& builder, const Task& task) const override {
    if (task.input_dtype != Dtype::f32) {
      throw Error(Fault::config,
                  fmt::format("model 'mlp' takes f32, the data set has {}", name_of(task.input_dtype)),
                  "for tokens use model gpt2");
    }
    int x = flatten(builder, builder.input(task.input, task.input_dtype));
    int layer = 1;
    for (const std::int64_t width : hidden_) {
      x = linear(builder, x, fmt::format("fc{}", layer), width);
      x = relu(builder, x, fmt::format("relu{}", layer));
      x = dropout(builder, x, dropout_, fmt::format("dropout{}", layer++));
    }
    const std::int64_t outputs = task.classes > 0 ? task.classes : task.target.count();
    builder.predict(linear(builder, x, fmt::format("fc{}", layer), outputs));
  }

 private:
  std::vector<std::int64_t> hidden_;
  double dropout_;
};

}  // namespace

std::span<const Setting> mlp_settings() noexcept { return kSettings; }
std::unique_ptr<Model> make_mlp(const Options& options) { return std::make_unique<Mlp>(options); }

}  // namespace lockstep::models
