#include <array>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/labelled_images.h"

namespace lockstep::data {

std::vector<TensorSpec> labelled_image_tensors(const Shape& shape) {
  return {{"image", Dtype::u8, shape}, {"label", Dtype::i32, Shape{}}};
}

void write_labelled_images(SetWriter& writer, const std::string& split, const LabelledImages& images,
                           std::int64_t classes) {
  for (std::size_t i = 0; i < images.labels.size(); ++i) {
    if (images.labels[i] >= 0 && images.labels[i] < classes) continue;
    throw Error(Fault::data,
                fmt::format("sample {} of '{}' has label {}, but there are {} classes (0 to {})", i,
                            images.origin, images.labels[i], classes, classes - 1),
                "the file is damaged, or of another data set");
  }
  writer.begin_split(split, labelled_image_tensors(images.shape));
  const std::array<const std::byte*, 2> blocks{images.pixels.data(), bytes_of(images.labels)};
  writer.append(static_cast<std::int64_t>(images.labels.size()), blocks);
}

void write_image_facts(SetWriter& writer, const ChannelStatistics& statistics, std::int64_t classes,
                       const std::vector<std::string>& class_names) {
  if (!class_names.empty() && static_cast<std::int64_t>(class_names.size()) != classes) {
    throw Error(Fault::config, fmt::format("{} class names for {} classes", class_names.size(), classes),
                "give one name per class, in label order");
  }
  writer.fact("classes", classes);
  if (!class_names.empty()) writer.fact("class_names", fmt::format("{}", fmt::join(class_names, "\n")));
  writer.fact("mean", statistics.mean());
  writer.fact("deviation", statistics.deviation());
}

}  // namespace lockstep::data
