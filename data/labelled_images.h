// What the importers of labelled 8-bit images share: a split in memory, checks, statistics, class names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/shape.h"
#include "data/statistics.h"
#include "data/writer.h"

namespace lockstep::data {

struct LabelledImages {
  std::string origin;  ///< file or folder, for errors
  Shape shape;         ///< of one image: [channels, height, width]
  std::vector<std::byte> pixels;
  std::vector<std::int32_t> labels;
};

/// "image" u8 and "label" i32.
[[nodiscard]] std::vector<TensorSpec> labelled_image_tensors(const Shape& shape);

/// Appends a split. Throws Fault::data naming sample, label and classes when a label is out of range.
void write_labelled_images(SetWriter& writer, const std::string& split, const LabelledImages& images,
                           std::int64_t classes);
/// Classes, names (when given, as many as classes) and normalisation. Throws Fault::config on a wrong number
/// of names.
void write_image_facts(SetWriter& writer, const ChannelStatistics& statistics, std::int64_t classes,
                       const std::vector<std::string>& class_names);

}  // namespace lockstep::data
