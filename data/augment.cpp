#include "data/augment.h"

#include <algorithm>
#include <cmath>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "core/random.h"

namespace lockstep::data {
namespace {

/// Draws of one sample's view.
enum Draw : std::uint64_t { kMirror, kTop, kLeft, kFirstTry };
constexpr std::uint64_t kDrawsPerTry = 4;
/// Shapes tried before the largest centred one is taken, as in torchvision's RandomResizedCrop.
constexpr std::uint64_t kTries = 10;

double between(const RandomSource& random, std::uint64_t draw, double low, double high) {
  return low + (high - low) * static_cast<double>(random.uniform(draw));
}

std::int64_t offset_within(const RandomSource& random, std::uint64_t draw, std::int64_t room) {
  return static_cast<std::int64_t>(random.below(draw, static_cast<std::uint64_t>(room) + 1));
}

Box box_at(std::int64_t top, std::int64_t left, PlaneSize size) {
  return {static_cast<double>(top), static_cast<double>(left), static_cast<double>(size.height),
          static_cast<double>(size.width)};
}

bool has_size(const Box& box, PlaneSize size) {
  return box.height == static_cast<double>(size.height) && box.width == static_cast<double>(size.width);
}

}  // namespace

Augment::Augment(const AugmentOptions& options, PlaneSize stored, PlaneSize output)
    : options_(options), stored_(stored), output_(output) {
  const std::int64_t room = options.crop == Crop::padded ? 2 * options.padding : 0;
  const bool fits = output.height <= stored.height + room && output.width <= stored.width + room;
  if (options.crop != Crop::resized && !fits) {
    throw Error(Fault::config,
                fmt::format("data.size {} x {} is larger than the stored images of {} x {}", output.height,
                            output.width, stored.height, stored.width),
                "set data.size to less, data.crop to resized, or import larger images");
  }
}

/// The middle of the image; enlarged later when the image is smaller than the output.
Box Augment::centre() const {
  const double scale =
      std::min({1.0, static_cast<double>(stored_.height) / static_cast<double>(output_.height),
                static_cast<double>(stored_.width) / static_cast<double>(output_.width)});
  const PlaneSize size{std::llround(scale * static_cast<double>(output_.height)),
                       std::llround(scale * static_cast<double>(output_.width))};
  return box_at((stored_.height - size.height) / 2, (stored_.width - size.width) / 2, size);
}

Box Augment::random_part(std::uint64_t sample_number) const {
  const RandomSource random(options_.seed, "augment", sample_number);
  const double area = static_cast<double>(stored_.height * stored_.width);
  for (std::uint64_t attempt = 0; attempt < kTries; ++attempt) {
    const std::uint64_t draw = kFirstTry + attempt * kDrawsPerTry;
    const double part = area * between(random, draw, options_.least_area, options_.most_area);
    const double ratio =
        std::exp(between(random, draw + 1, std::log(options_.least_ratio), std::log(options_.most_ratio)));
    const PlaneSize size{std::llround(std::sqrt(part / ratio)), std::llround(std::sqrt(part * ratio))};
    if (size.height < 1 || size.width < 1 || size.height > stored_.height || size.width > stored_.width) {
      continue;
    }
    return box_at(offset_within(random, draw + 2, stored_.height - size.height),
                  offset_within(random, draw + 3, stored_.width - size.width), size);
  }
  return centre();
}

View Augment::view(std::uint64_t sample_number) const {
  if (!options_.random) return {centre(), false};
  const RandomSource random(options_.seed, "augment", sample_number);
  View view{centre(), options_.flip && random.uniform(kMirror) < 0.5F};
  if (options_.crop == Crop::resized) view.box = random_part(sample_number);
  if (options_.crop == Crop::padded) {
    const std::int64_t padding = options_.padding;
    view.box =
        box_at(offset_within(random, kTop, stored_.height + 2 * padding - output_.height) - padding,
               offset_within(random, kLeft, stored_.width + 2 * padding - output_.width) - padding, output_);
  }
  return view;
}

void Augment::copy(const View& view, const float* plane, float* into) const {
  const auto top = static_cast<std::int64_t>(view.box.top);
  const auto left = static_cast<std::int64_t>(view.box.left);
  for (std::int64_t row = 0; row < output_.height; ++row) {
    const std::int64_t from = top + row;
    const bool inside = from >= 0 && from < stored_.height;
    for (std::int64_t col = 0; col < output_.width; ++col) {
      const std::int64_t at = left + col;
      into[row * output_.width + col] =
          inside && at >= 0 && at < stored_.width ? plane[from * stored_.width + at] : 0.0F;
    }
  }
}

void Augment::apply(const View& view, const float* planes, const Normalisation& normalisation,
                    float* into) const {
  const std::int64_t plane = output_.height * output_.width;
  const bool resize = !has_size(view.box, output_);
  const auto resampler = resize ? Resampler(stored_, view.box, output_) : Resampler({}, {});
  for (std::size_t channel = 0; channel < normalisation.scale.size(); ++channel) {
    const float* from = planes + static_cast<std::int64_t>(channel) * stored_.height * stored_.width;
    if (resize) {
      resampler.apply(from, into);
    } else {
      copy(view, from, into);
    }
    for (std::int64_t row = 0; view.mirror && row < output_.height; ++row) {
      std::reverse(into + row * output_.width, into + (row + 1) * output_.width);
    }
    for (std::int64_t i = 0; i < plane; ++i) {
      into[i] = into[i] * normalisation.scale[channel] + normalisation.offset[channel];
    }
    into += plane;
  }
}

}  // namespace lockstep::data
