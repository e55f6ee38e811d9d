// A small convolutional classifier: stages of 3x3 convolution, batch norm and ReLU, each ending in 2x2 max
// pooling, then dropout and one or two linear layers. The defaults have 0.1 M parameters on 28 x 28 images,
// few enough to train Fashion-MNIST on two CPU cores in minutes.
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "core/error.h"
#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kSettings[] = {
    {"channels", SettingType::integers, "[32, 64, 128]", "channels of each stage"},
    {"convolutions", SettingType::integer, "1", "convolutions per stage", "[1,inf)"},
    {"hidden", SettingType::integer, "0", "width of a hidden linear layer, 0 for none", "[0,inf)"},
    {"dropout", SettingType::real, "0.25", "rate before each linear layer", "[0,1)"},
    kSynchronisedNorm,
};

class Cnn final : public Model {
 public:
  explicit Cnn(const Options& options)
      : channels_(options.integers("channels")),
        convolutions_(options.integer("convolutions")),
        hidden_(options.integer("hidden")),
        dropout_(options.real("dropout")),
        norm_{.synchronised = options.boolean("synchronised_norm")} {
    if (channels_.empty() || std::ranges::any_of(channels_, [](std::int64_t width) { return width <= 0; })) {
      throw Error(Fault::config,
                  fmt::format("{} must list positive numbers of channels", options.where("channels")),
                  "give one number per stage, such as [32, 64, 128]");
    }
  }

  void build(GraphBuilder& builder, const Task& task) const override {
    expect_images(task, "cnn");
    expect_labels(task, "cnn");
    int x = builder.input(task.input, task.input_dtype);
    for (std::size_t i = 0; i < channels_.size(); ++i) x = stage(builder, x, i);
    x = dropout(builder, flatten(builder, x), dropout_, "dropout1");
    if (hidden_ > 0) {
      x = relu(builder, linear(builder, x, "fc1", hidden_), "fc1.relu");
      x = dropout(builder, x, dropout_, "dropout2");
    }
    builder.predict(linear(builder, x, hidden_ > 0 ? "fc2" : "fc", task.classes));
  }

 private:
  int stage(GraphBuilder& builder, int x, std::size_t number) const {
    for (std::int64_t i = 1; i <= convolutions_; ++i) {
      const auto name = [&](const char* part) { return fmt::format("stage{}.{}{}", number + 1, part, i); };
      const Conv2d conv{.out_channels = channels_[number], .padding = {1, 1}};
      x = conv_norm(builder, x,
                    {.conv = name("conv"), .norm = name("bn"), .spec = conv, .batch_norm = norm_});
      x = relu(builder, x, name("relu"));
    }
    return builder.apply(MaxPool{}, {x}, fmt::format("stage{}.pool", number + 1));
  }

  std::vector<std::int64_t> channels_;
  std::int64_t convolutions_, hidden_;
  double dropout_;
  BatchNorm norm_;
};

}  // namespace

std::span<const Setting> cnn_settings() noexcept { return kSettings; }
std::unique_ptr<Model> make_cnn(const Options& options) { return std::make_unique<Cnn>(options); }

}  // namespace lockstep::models
