// U-Net (Ronneberger et al., 2015): field to field. With classes it labels every pixel; without, it predicts
// fields, at a multiple of the input's resolution when the targets are larger. Then the input is first
// enlarged bilinearly and, when it has the target's channels, the network predicts only the difference (VDSR,
// Kim et al., 2016), starting at none: an untrained network is bilinear interpolation.
#include <spdlog/fmt/fmt.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kSettings[] = {
    {"channels", SettingType::integer, "32",
     "channels at full resolution; each level below has twice as many", "[1,inf)"},
    {"levels", SettingType::integer, "3", "how often the resolution is halved", "[1,16]"},
    {"batch_norm", SettingType::boolean, "true", "batch norm after each 3x3 convolution"},
    {"residual", SettingType::boolean, "true",
     "fields only: predict the difference to the (enlarged) input when it has as many channels as the "
     "target"},
    kSynchronisedNorm,
};

class UNet final : public Model {
 public:
  explicit UNet(const Options& options)
      : channels_(options.integer("channels")),
        levels_(static_cast<int>(options.integer("levels"))),
        with_norm_(options.boolean("batch_norm")),
        residual_(options.boolean("residual")),
        norm_{.synchronised = options.boolean("synchronised_norm")} {}

  void build(GraphBuilder& builder, const Task& task) const override {
    expect_images(task, "unet");
    const std::int64_t scale = enlargement(task);
    const bool fields = task.classes == 0;
    int start = builder.input(task.input, task.input_dtype);
    if (scale > 1) start = builder.apply(Resize{scale}, {start}, "resize");
    const std::int64_t outputs = fields ? task.target[0] : task.classes;
    const bool difference = fields && residual_ && task.input[0] == outputs;

    const int features = body(builder, start);
    const Init init = difference ? Init::constant(0) : uniform_fan_in(channels_);
    const int head =
        builder.conv2d(features, "head", Conv2d{.out_channels = outputs, .kernel = {1, 1}}, init);
    builder.predict(difference ? builder.apply(Add{}, {head, start}, "sum") : head);
  }

 private:
  /// Target rows per input row. Throws when the shapes do not fit a U-Net of this depth.
  [[nodiscard]] std::int64_t enlargement(const Task& task) const {
    const int axes = task.classes > 0 ? 2 : 3;
    const auto mismatch = [&](const char* hint) {
      return Error(Fault::config,
                   fmt::format("model 'unet' with {} levels cannot map {} to targets {}", levels_,
                               task.input.text(), task.target.text()),
                   hint);
    };
    if (task.target.rank() != axes) {
      throw mismatch(
          "targets must be fields [C, H, W], or labels [H, W] with classes; for one label use resnet");
    }
    const std::int64_t height = task.target[axes - 2], width = task.target[axes - 1];
    const std::int64_t scale = height / task.input[1];
    if (scale < 1 || height != scale * task.input[1] || width != scale * task.input[2]) {
      throw mismatch("target height and width must be the same whole multiple of the input's");
    }
    const std::int64_t step = std::int64_t{1} << levels_;
    if (height % step != 0 || width % step != 0) {
      throw mismatch(
          "target height and width must be multiples of 2^levels: lower model.unet.levels or crop");
    }
    return scale;
  }

  int body(GraphBuilder& builder, int x) const {
    std::vector<int> skips;
    std::int64_t width = channels_;
    for (int level = 0; level < levels_; ++level, width *= 2) {
      x = convolutions(builder, x, fmt::format("down{}", level), width);
      skips.push_back(x);
      x = builder.apply(MaxPool{}, {x}, fmt::format("down{}.pool", level));
    }
    x = convolutions(builder, x, "bottom", width);
    for (int level = levels_ - 1; level >= 0; --level) {
      width /= 2;
      const std::string name = fmt::format("up{}", level);
      const Init init = uniform_fan_in(width * 4);
      x = builder.conv_transpose2d(x, name + ".enlarge", ConvTranspose2d{.out_channels = width}, init, init);
      x = builder.apply(Concat{}, {skips[static_cast<std::size_t>(level)], x}, name + ".concat");
      x = convolutions(builder, x, name, width);
    }
    return x;
  }

  int convolutions(GraphBuilder& builder, int x, const std::string& stage, std::int64_t width) const {
    for (int i = 1; i <= 2; ++i) {
      const auto name = [&](const char* part) { return fmt::format("{}.{}{}", stage, part, i); };
      const Conv2d conv{.out_channels = width, .padding = {1, 1}};
      x = with_norm_
              ? conv_norm(builder, x,
                          {.conv = name("conv"), .norm = name("bn"), .spec = conv, .batch_norm = norm_})
              : builder.conv2d(x, name("conv"), conv, he_fan_out(width, conv.kernel));
      x = relu(builder, x, name("relu"));
    }
    return x;
  }

  std::int64_t channels_;
  int levels_;
  bool with_norm_, residual_;
  BatchNorm norm_;
};

}  // namespace

std::span<const Setting> unet_settings() noexcept { return kSettings; }
std::unique_ptr<Model> make_unet(const Options& options) { return std::make_unique<UNet>(options); }

}  // namespace lockstep::models
