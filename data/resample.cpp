#include "data/resample.h"

#include <algorithm>
#include <cmath>

namespace lockstep::data {

Resampler::Resampler(PlaneSize from, PlaneSize to)
    : Resampler(from,
                Box{.height = static_cast<double>(from.height), .width = static_cast<double>(from.width)},
                to) {}

Resampler::Resampler(PlaneSize from, const Box& box, PlaneSize to)
    : from_(from),
      to_(to),
      rows_(plan(from.height, box.top, box.height, to.height)),
      columns_(plan(from.width, box.left, box.width, to.width)) {}

// A triangle of half width max(1, length / outputs) around the centre of each output element.
Resampler::Axis Resampler::plan(std::int64_t inputs, double start, double length, std::int64_t outputs) {
  Axis axis;
  const double step = length / static_cast<double>(outputs);
  const double support = std::max(1.0, step);
  for (std::int64_t i = 0; i < outputs; ++i) {
    const double centre = start + (static_cast<double>(i) + 0.5) * step;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(centre - support)));
    const auto last = std::min<std::int64_t>(inputs, static_cast<std::int64_t>(std::ceil(centre + support)));
    std::vector<float> weights;
    double sum = 0;
    for (std::int64_t input = first; input < last; ++input) {
      const double distance = std::abs(static_cast<double>(input) + 0.5 - centre) / support;
      weights.push_back(static_cast<float>(std::max(0.0, 1.0 - distance)));
      sum += weights.back();
    }
    for (float& weight : weights) weight = static_cast<float>(weight / sum);
    axis.first.push_back(first);
    axis.weights.push_back(std::move(weights));
  }
  return axis;
}

void Resampler::apply(const float* from, float* into) const {
  std::vector<float> wide(static_cast<std::size_t>(from_.height * to_.width));
  for (std::int64_t row = 0; row < from_.height; ++row) {
    for (std::int64_t col = 0; col < to_.width; ++col) {
      const auto& weights = columns_.weights[static_cast<std::size_t>(col)];
      const float* source = from + row * from_.width + columns_.first[static_cast<std::size_t>(col)];
      float sum = 0;
      for (std::size_t i = 0; i < weights.size(); ++i) sum += weights[i] * source[i];
      wide[static_cast<std::size_t>(row * to_.width + col)] = sum;
    }
  }
  for (std::int64_t row = 0; row < to_.height; ++row) {
    const auto& weights = rows_.weights[static_cast<std::size_t>(row)];
    float* target = into + row * to_.width;
    std::fill_n(target, to_.width, 0.0F);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto source_row = rows_.first[static_cast<std::size_t>(row)] + static_cast<std::int64_t>(i);
      const float* source = wide.data() + source_row * to_.width;
      for (std::int64_t col = 0; col < to_.width; ++col) target[col] += weights[i] * source[col];
    }
  }
}

void average_squares(const float* from, std::int64_t height, std::int64_t width, std::int64_t factor,
                     float* into) {
  const float share = 1.0F / static_cast<float>(factor * factor);
  for (std::int64_t row = 0; row < height / factor; ++row) {
    for (std::int64_t col = 0; col < width / factor; ++col) {
      float sum = 0;
      for (std::int64_t i = 0; i < factor * factor; ++i) {
        sum += from[(row * factor + i / factor) * width + col * factor + i % factor];
      }
      *into++ = sum * share;
    }
  }
}

void repeat_squares(const float* from, PlaneSize size, std::int64_t factor, float* into) {
  for (std::int64_t row = 0; row < size.height * factor; ++row) {
    for (std::int64_t col = 0; col < size.width * factor; ++col) {
      *into++ = from[row / factor * size.width + col / factor];
    }
  }
}

}  // namespace lockstep::data
