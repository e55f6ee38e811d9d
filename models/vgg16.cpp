// VGG with 16 layers (Simonyan & Zisserman, 2015), configuration D, with torchvision's names and initial
// values. Its 138 M parameters in few large slots are the classic load for gradient exchange.
#include <spdlog/fmt/fmt.h>

#include <array>

#include "core/error.h"
#include "models/blocks.h"
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kSettings[] = {
    {"batch_norm", SettingType::boolean, "false", "batch norm after each convolution"},
    {"channels", SettingType::integer, "64",
     "channels of the first stage (the others have 2, 4, 8, 8 times that)", "[1,inf)"},
    {"hidden", SettingType::integer, "4096", "width of the two hidden linear layers", "[1,inf)"},
    {"dropout", SettingType::real, "0.5", "rate after each hidden linear layer", "[0,1)"},
    kSynchronisedNorm,
};

/// Convolutions per stage, and channels relative to the first.
struct Stage {
  int convolutions;
  std::int64_t times;
};
constexpr std::array<Stage, 5> kStages{{{2, 1}, {2, 2}, {3, 4}, {3, 8}, {3, 8}}};
/// Rows and columns that the classifier of the paper sees: 224 / 2^5.
constexpr std::int64_t kGrid = 7;

class Vgg16 final : public Model {
 public:
  explicit Vgg16(const Options& options)
      : with_norm_(options.boolean("batch_norm")),
        channels_(options.integer("channels")),
        hidden_(options.integer("hidden")),
        dropout_(options.real("dropout")),
        norm_{.synchronised = options.boolean("synchronised_norm")} {}

  void build(GraphBuilder& builder, const Task& task) const override {
    expect_images(task, "vgg16");
    expect_labels(task, "vgg16");
    int x = builder.input(task.input, task.input_dtype);
    int layer = 0;  // torchvision numbers convolutions, norms, ReLUs and pools in one list
    for (const Stage& stage : kStages) {
      for (int i = 0; i < stage.convolutions; ++i)
        x = convolution(builder, x, stage.times * channels_, layer);
      x = builder.apply(MaxPool{}, {x}, feature(layer++));
    }
    x = flatten(builder, to_grid(builder, x));
    x = hidden(builder, x, 0);
    x = hidden(builder, x, 3);
    builder.predict(weights(builder, x, "classifier.6", task.classes));
  }

 private:
  static std::string feature(int layer) { return fmt::format("features.{}", layer); }

  int convolution(GraphBuilder& builder, int x, std::int64_t channels, int& layer) const {
    const Conv2d conv{.out_channels = channels, .padding = {1, 1}};
    x = builder.conv2d(x, feature(layer++), conv, he_fan_out(channels, conv.kernel));
    if (with_norm_) x = builder.batch_norm(x, feature(layer++), norm_);
    return relu(builder, x, feature(layer++));
  }
  /// Averages larger images down to the 7 x 7 that the classifier was made for; smaller ones stay.
  static int to_grid(GraphBuilder& builder, int x) {
    const Shape shape = builder.shape(x);
    if (shape[2] <= kGrid && shape[3] <= kGrid) return x;
    if (shape[2] % kGrid != 0 || shape[3] % kGrid != 0) {
      throw Error(Fault::config,
                  fmt::format("vgg16 cannot average a grid of {} x {} to 7 x 7", shape[2], shape[3]),
                  "use images whose height and width are multiples of 224, or at most 255");
    }
    const Pair window{shape[2] / kGrid, shape[3] / kGrid};
    return builder.apply(AveragePool{.kernel = window, .stride = window}, {x}, "avgpool");
  }
  int hidden(GraphBuilder& builder, int x, int number) const {
    x = weights(builder, x, fmt::format("classifier.{}", number), hidden_);
    x = relu(builder, x, fmt::format("classifier.{}", number + 1));
    return dropout(builder, x, dropout_, fmt::format("classifier.{}", number + 2));
  }
  static int weights(GraphBuilder& builder, int x, const std::string& name, std::int64_t features) {
    return builder.linear(x, name, Linear{.out_features = features}, Init::normal(0.01f));
  }

  bool with_norm_;
  std::int64_t channels_, hidden_;
  double dropout_;
  BatchNorm norm_;
};

}  // namespace

std::span<const Setting> vgg16_settings() noexcept { return kSettings; }
std::unique_ptr<Model> make_vgg16(const Options& options) { return std::make_unique<Vgg16>(options); }

}  // namespace lockstep::models
