// Super-resolution of fields: the target is the stored field, the input the same field averaged over squares
// (area means, as a coarser model would give), optionally brought back to the target's size.
#include <algorithm>
#include <optional>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/assemble.h"
#include "data/resample.h"

namespace lockstep::data {
namespace {

constexpr const char* kCandidates[] = {"target", "field", "image"};

class FieldPairs final : public Assembler {
 public:
  FieldPairs(const Dataset& dataset, const Options& settings, const AssemblerOptions&)
      : dataset_(dataset), factor_(settings.integer("downsample")), upsample_(settings.text("upsample")) {
    tensor_ = choose_tensor(dataset, settings.text("target"), settings.where("target"), kCandidates);
    if (tensor_ < 0) tensor_ = 0;
    const auto& spec = dataset.sample()[static_cast<std::size_t>(tensor_)];
    const int rank = spec.shape.rank();
    if (rank != 2 && rank != 3) throw misfit(spec, "is no field: it needs [height, width] or channels first");
    channels_ = rank == 3 ? spec.shape[0] : 1;
    height_ = spec.shape[rank - 2];
    width_ = spec.shape[rank - 1];
    if (height_ % factor_ != 0 || width_ % factor_ != 0) {
      throw misfit(spec, fmt::format("does not divide into squares of {}", factor_));
    }
    if (upsample_ == "bilinear") {
      bilinear_.emplace(PlaneSize{height_ / factor_, width_ / factor_}, PlaneSize{height_, width_});
    }
    normalisation_ = normalisation_of(dataset, settings, channels_, spec.dtype == Dtype::u8 ? 255 : 1);
  }

  [[nodiscard]] LoaderSpec spec() const override {
    LoaderSpec spec;
    spec.target = Shape{channels_, height_, width_};
    spec.input = upsample_ == "none" ? Shape{channels_, height_ / factor_, width_ / factor_} : spec.target;
    spec.target_dtype = Dtype::f32;
    spec.samples = dataset_.size();
    return spec;
  }

  void assemble(const Pick& pick, std::byte* input, std::byte* target, Scratch& scratch) const override {
    const Dtype dtype = dataset_.sample()[static_cast<std::size_t>(tensor_)].dtype;
    const std::int64_t plane = height_ * width_;
    const std::int64_t input_plane = upsample_ == "none" ? plane / (factor_ * factor_) : plane;
    auto* fields = reinterpret_cast<float*>(target);
    auto* coarse = reinterpret_cast<float*>(input);
    read_tensor(dataset_, tensor_, pick.samples, scratch.input);
    const auto planes = static_cast<std::int64_t>(pick.samples.size()) * channels_;
    to_floats(scratch.input.data(), dtype, static_cast<std::size_t>(planes * plane), fields);
    for (std::int64_t p = 0; p < planes; ++p) {
      const auto channel = static_cast<std::size_t>(p % channels_);
      float* field = fields + p * plane;
      for (std::int64_t i = 0; i < plane; ++i) {
        field[i] = field[i] * normalisation_.scale[channel] + normalisation_.offset[channel];
      }
      coarsen(field, scratch, coarse + p * input_plane);
    }
  }

 private:
  [[nodiscard]] Error misfit(const TensorSpec& spec, const std::string& why) const {
    return {Fault::config, fmt::format("tensor '{}' {} {}", spec.name, spec.shape.text(), why),
            "choose another data.target or data.downsample"};
  }

  void coarsen(const float* field, Scratch& scratch, float* into) const {
    if (upsample_ == "none") return average_squares(field, height_, width_, factor_, into);
    scratch.plane.resize(static_cast<std::size_t>(height_ / factor_ * (width_ / factor_)));
    average_squares(field, height_, width_, factor_, scratch.plane.data());
    const PlaneSize from{height_ / factor_, width_ / factor_};
    if (upsample_ == "nearest") {
      repeat_squares(scratch.plane.data(), from, factor_, into);
    } else {
      bilinear_->apply(scratch.plane.data(), into);
    }
  }

  const Dataset& dataset_;
  std::int64_t factor_;
  std::string upsample_;
  int tensor_;
  std::int64_t channels_ = 1, height_ = 0, width_ = 0;
  Normalisation normalisation_;
  std::optional<Resampler> bilinear_;
};

}  // namespace

std::unique_ptr<Assembler> assemble_fields(const Dataset& dataset, const Options& settings,
                                           const AssemblerOptions& options) {
  return std::make_unique<FieldPairs>(dataset, settings, options);
}

}  // namespace lockstep::data
