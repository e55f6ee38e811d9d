// Residual networks (He et al., 2016). Depths 20, 32, 44, 56, 110 are the paper's CIFAR networks (16-32-64
// channels; names as in the common PyTorch file for them); 18, 34, 50, 101, 152 are the ImageNet networks as
// torchvision has them (the stride of a bottleneck in its 3x3 convolution, "v1.5"; torchvision's names).
#include <spdlog/fmt/fmt.h>

#include <array>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kSettings[] = {
    {"depth", SettingType::integer, "20",
     "layers: 20, 32, 44, 56, 110 (CIFAR) or 18, 34, 50, 101, 152 (ImageNet)"},
    {"shortcut", SettingType::text, "auto",
     "where the shape changes: A zero-pads, B convolves 1x1; auto: A for CIFAR depths, B for ImageNet's",
     "auto|A|B"},
    {"stem", SettingType::text, "7x7", "ImageNet depths only: 7x7 with pooling, or 3x3 for small images",
     "7x7|3x3"},
    {"zero_last_gamma", SettingType::boolean, "false",
     "start the last norm of each block at 0, so that blocks start as identities (Goyal et al., 2017)"},
    kSynchronisedNorm,
};

/// What a depth means.
struct Plan {
  bool cifar = false;
  bool bottleneck = false;
  std::vector<int> blocks;  ///< per stage
};

Plan plan_of(const Options& options) {
  switch (const auto depth = options.integer("depth")) {
    case 20:
    case 32:
    case 44:
    case 56:
    case 110:
      return {.cifar = true, .blocks = std::vector<int>(3, static_cast<int>(depth - 2) / 6)};
    case 18:
      return {.blocks = {2, 2, 2, 2}};
    case 34:
      return {.blocks = {3, 4, 6, 3}};
    case 50:
      return {.bottleneck = true, .blocks = {3, 4, 6, 3}};
    case 101:
      return {.bottleneck = true, .blocks = {3, 4, 23, 3}};
    case 152:
      return {.bottleneck = true, .blocks = {3, 8, 36, 3}};
    default:
      throw Error(Fault::config, fmt::format("{} is {}", options.where("depth"), depth),
                  "use 20, 32, 44, 56 or 110 for small images, 18, 34, 50, 101 or 152 for large ones");
  }
}

class ResNet final : public Model {
 public:
  explicit ResNet(const Options& options)
      : plan_(plan_of(options)),
        small_stem_(plan_.cifar || options.text("stem") == "3x3"),
        last_gamma_(options.boolean("zero_last_gamma") ? 0.f : 1.f),
        norm_{.synchronised = options.boolean("synchronised_norm")} {
    const std::string shortcut = options.text("shortcut");
    pads_ = shortcut == "auto" ? plan_.cifar : shortcut == "A";
  }

  void build(GraphBuilder& builder, const Task& task) const override {
    expect_images(task, "resnet");
    expect_labels(task, "resnet");
    int x = stem(builder, builder.input(task.input, task.input_dtype));
    std::int64_t width = plan_.cifar ? 16 : 64;
    for (std::size_t stage = 0; stage < plan_.blocks.size(); ++stage, width *= 2) {
      for (int i = 0; i < plan_.blocks[stage]; ++i) {
        const std::int64_t stride = stage > 0 && i == 0 ? 2 : 1;
        x = block(builder, x, fmt::format("layer{}.{}", stage + 1, i), width, stride);
      }
    }
    x = builder.apply(GlobalAveragePool{}, {x}, "avgpool");
    builder.predict(linear(builder, x, plan_.cifar ? "linear" : "fc", task.classes));
  }

 private:
  [[nodiscard]] ConvNorm conv(const std::string& conv, const std::string& norm, std::int64_t channels,
                              std::int64_t kernel, std::int64_t stride) const {
    const std::int64_t padding = kernel / 2;
    return {.conv = conv,
            .norm = norm,
            .spec = {.out_channels = channels,
                     .kernel = {kernel, kernel},
                     .stride = {stride, stride},
                     .padding = {padding, padding}},
            .batch_norm = norm_};
  }

  [[nodiscard]] int stem(GraphBuilder& builder, int x) const {
    const std::int64_t channels = plan_.cifar ? 16 : 64;
    const bool small = small_stem_;
    x = conv_norm(builder, x, conv("conv1", "bn1", channels, small ? 3 : 7, small ? 1 : 2));
    x = relu(builder, x, "relu");
    if (small) return x;
    return builder.apply(MaxPool{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, {x}, "maxpool");
  }

  /// Two 3x3 convolutions, or 1x1, 3x3, 1x1 to four times the width; plus the shortcut.
  int block(GraphBuilder& builder, int x, const std::string& name, std::int64_t width,
            std::int64_t stride) const {
    std::vector<ConvNorm> path;
    const auto add = [&](std::int64_t channels, std::int64_t kernel, std::int64_t step) {
      const auto number = path.size() + 1;
      path.push_back(conv(fmt::format("{}.conv{}", name, number), fmt::format("{}.bn{}", name, number),
                          channels, kernel, step));
    };
    if (plan_.bottleneck) {
      add(width, 1, 1);
      add(width, 3, stride);
      add(4 * width, 1, 1);
    } else {
      add(width, 3, stride);
      add(width, 3, 1);
    }
    path.back().gamma = last_gamma_;
    int y = x;
    for (std::size_t i = 0; i < path.size(); ++i) {
      y = conv_norm(builder, y, path[i]);
      if (i + 1 < path.size()) y = relu(builder, y, fmt::format("{}.relu{}", name, i + 1));
    }
    const int around = shortcut(builder, x, name, path.back().spec.out_channels, stride);
    return relu(builder, builder.apply(Add{}, {y, around}, name + ".add"), name + ".relu");
  }

  int shortcut(GraphBuilder& builder, int x, const std::string& block, std::int64_t channels,
               std::int64_t stride) const {
    if (stride == 1 && builder.shape(x)[1] == channels) return x;
    if (pads_)
      return builder.apply(ShortcutA{.out_channels = channels, .stride = stride}, {x}, block + ".shortcut");
    const std::string name = block + (plan_.cifar ? ".shortcut" : ".downsample");
    return conv_norm(builder, x, conv(name + ".0", name + ".1", channels, 1, stride));
  }

  Plan plan_;
  bool small_stem_;
  bool pads_ = false;
  float last_gamma_;
  BatchNorm norm_;
};

}  // namespace

std::span<const Setting> resnet_settings() noexcept { return kSettings; }
std::unique_ptr<Model> make_resnet(const Options& options) { return std::make_unique<ResNet>(options); }

}  // namespace lockstep::models
