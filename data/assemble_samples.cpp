// One row per sample: an input tensor (image or any numbers) with a class label, a mask of classes, or a
// target of numbers.
#include <algorithm>
#include <cstring>
#include <optional>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/assemble.h"
#include "data/augment.h"

namespace lockstep::data {
namespace {

constexpr const char* kInputs[] = {"image", "input", "field"};
constexpr const char* kTargets[] = {"label", "target", "mask"};

bool is_integer(Dtype dtype) {
  return dtype == Dtype::i64 || dtype == Dtype::i32 || dtype == Dtype::u16 || dtype == Dtype::u8;
}

AugmentOptions augment_options(const Options& settings, const AssemblerOptions& how) {
  const auto area = settings.reals("crop_scale");
  const auto ratio = settings.reals("crop_ratio");
  const std::string crop = settings.text("crop");
  if (area.size() != 2 || ratio.size() != 2 || !(area[0] > 0 && area[0] <= area[1] && area[1] <= 1) ||
      !(ratio[0] > 0 && ratio[0] <= ratio[1])) {
    throw Error(Fault::config,
                fmt::format("{} and {} take two numbers, smaller first", settings.where("crop_scale"),
                            settings.where("crop_ratio")),
                "for example [0.08, 1] and [0.75, 1.3333]");
  }
  return {.crop = crop == "padded"    ? Crop::padded
                  : crop == "resized" ? Crop::resized
                                      : Crop::none,
          .padding = settings.integer("crop_padding"),
          .least_area = area[0],
          .most_area = area[1],
          .least_ratio = ratio[0],
          .most_ratio = ratio[1],
          .flip = settings.boolean("flip"),
          .random = how.train,
          .seed = how.seed};
}

class SamplesWithTargets final : public Assembler {
 public:
  SamplesWithTargets(const Dataset& dataset, const Options& settings, const AssemblerOptions& options)
      : dataset_(dataset), ignored_(settings.integer("ignore_label")) {
    choose(settings);
    const bool labels = is_integer(target().dtype);
    classes_ = labels ? classes_of(dataset, settings) : 0;
    if (labels && classes_ < 1) {
      throw Error(Fault::config,
                  fmt::format("'{}' does not state the number of classes of '{}'",
                              dataset.files().front().path, target().name),
                  "set data.classes");
    }
    shape_input();
    normalisation_ =
        normalisation_of(dataset, settings, planes_.rank() == 3 ? planes_[0] : 1, unit(input().dtype));
    prepare_augment(settings, options);
  }

  [[nodiscard]] LoaderSpec spec() const override {
    LoaderSpec spec;
    spec.input = augment_ ? Shape{planes_[0], output_.height, output_.width} : planes_;
    spec.target = target().shape;
    spec.target_dtype = classes_ > 0 ? Dtype::i32 : Dtype::f32;
    spec.classes = classes_;
    spec.samples = dataset_.size();
    return spec;
  }

  void assemble(const Pick& pick, std::byte* input_to, std::byte* target_to,
                Scratch& scratch) const override {
    read_tensor(dataset_, target_, pick.samples, scratch.target);
    const auto count = pick.samples.size() * static_cast<std::size_t>(target().shape.count());
    if (classes_ > 0) {
      copy_labels(pick, scratch.target, reinterpret_cast<std::int32_t*>(target_to));
    } else {
      to_floats(scratch.target.data(), target().dtype, count, reinterpret_cast<float*>(target_to));
    }
    read_tensor(dataset_, input_, pick.samples, scratch.input);
    feed(pick, scratch, reinterpret_cast<float*>(input_to));
  }

 private:
  [[nodiscard]] const TensorSpec& tensor(int index) const {
    return dataset_.sample()[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const TensorSpec& input() const { return tensor(input_); }
  [[nodiscard]] const TensorSpec& target() const { return tensor(target_); }
  /// What the stored value 1.0 is.
  static double unit(Dtype dtype) { return dtype == Dtype::u8 ? 255 : 1; }

  void choose(const Options& settings) {
    target_ = choose_tensor(dataset_, settings.text("target"), settings.where("target"), kTargets);
    input_ = choose_tensor(dataset_, settings.text("input"), settings.where("input"), kInputs);
    if (input_ < 0 && dataset_.sample().size() == 2 && target_ >= 0) input_ = 1 - target_;
    if (input_ >= 0 && target_ >= 0) return;
    std::string names;
    for (const auto& each : dataset_.sample()) names += (names.empty() ? "" : ", ") + each.name;
    throw Error(Fault::config,
                fmt::format("'{}' does not say which tensor is the {}; it has: {}",
                            dataset_.files().front().path, input_ < 0 ? "input" : "target", names),
                "set data.input and data.target; to train super-resolution of one field set data.downsample");
  }

  /// [height, width] becomes one channel.
  void shape_input() {
    const Shape& shape = input().shape;
    planes_ = shape.rank() == 2 ? Shape{1, shape[0], shape[1]} : shape;
  }

  void prepare_augment(const Options& settings, const AssemblerOptions& options) {
    const auto augment = augment_options(settings, options);
    const std::int64_t size = settings.integer("size");
    if (augment.crop == Crop::none && !augment.flip && size == 0) return;
    if (planes_.rank() != 3 || target().shape.rank() != 0) {
      throw Error(Fault::config,
                  fmt::format("crop, size and flip need images with one label each, not '{}' {} with '{}' {}",
                              input().name, input().shape.text(), target().name, target().shape.text()),
                  "leave data.crop, data.size and data.flip at their defaults");
    }
    const PlaneSize stored{planes_[1], planes_[2]};
    output_ = size > 0 ? PlaneSize{size, size} : stored;
    augment_.emplace(augment, stored, output_);
  }

  void copy_labels(const Pick& pick, const std::vector<std::byte>& stored, std::int32_t* into) const {
    const auto each = static_cast<std::size_t>(target().shape.count());
    for (std::size_t row = 0; row < pick.samples.size(); ++row) {
      for (std::size_t i = 0; i < each; ++i) {
        const auto label = element_as<std::int64_t>(stored.data(), target().dtype, row * each + i);
        if (label != ignored_ && (label < 0 || label >= classes_)) throw bad_label(pick.samples[row], label);
        *into++ = static_cast<std::int32_t>(label);
      }
    }
  }

  [[nodiscard]] Error bad_label(std::int64_t sample, std::int64_t label) const {
    return {Fault::data,
            fmt::format("{}: '{}' is {}, but there are {} classes (0 to {})", dataset_.where(sample),
                        target().name, label, classes_, classes_ - 1),
            "correct the labels and import again, or set data.classes"};
  }

  void feed(const Pick& pick, Scratch& scratch, float* into) const {
    const auto count = static_cast<std::size_t>(input().shape.count());
    const std::size_t channels = normalisation_.scale.size();
    if (augment_) scratch.plane.resize(count);
    for (std::size_t row = 0; row < pick.samples.size(); ++row) {
      const std::byte* stored = scratch.input.data() + row * count * size_of(input().dtype);
      if (augment_) {
        to_floats(stored, input().dtype, count, scratch.plane.data());
        const auto view = augment_->view(static_cast<std::uint64_t>(pick.first_position) + row);
        augment_->apply(view, scratch.plane.data(), normalisation_, into);
        into += static_cast<std::int64_t>(channels) * output_.height * output_.width;
        continue;
      }
      to_floats(stored, input().dtype, count, into);
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t channel = i / (count / channels);
        into[i] = into[i] * normalisation_.scale[channel] + normalisation_.offset[channel];
      }
      into += count;
    }
  }

  const Dataset& dataset_;
  std::int64_t ignored_;
  int input_ = -1, target_ = -1;
  std::int64_t classes_ = 0;
  Shape planes_;
  Normalisation normalisation_;
  std::optional<Augment> augment_;
  PlaneSize output_;
};

}  // namespace

std::unique_ptr<Assembler> assemble_samples(const Dataset& dataset, const Options& settings,
                                            const AssemblerOptions& options) {
  return std::make_unique<SamplesWithTargets>(dataset, settings, options);
}

}  // namespace lockstep::data
