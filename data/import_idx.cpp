// Imports IDX files (MNIST and its relatives): a header of big-endian numbers, then bytes; usually gzipped.
#include <algorithm>
#include <filesystem>
#include <optional>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/bytes_file.h"
#include "data/labelled_images.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

constexpr int kUnsignedBytes = 0x08;  ///< third byte of the header: the element type

constexpr Setting kOwnSettings[] = {
    {"input", SettingType::text, nullptr,
     "folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k files, .gz or not"},
    {"class_names", SettingType::texts, "[]", "names in label order; empty: none are stored"},
    {"classes", SettingType::integer, "0", "number of classes; 0: the largest label and one", "[0,inf)"},
};
constexpr auto kSettings = with_output(kOwnSettings);

/// An IDX file of bytes.
struct Idx {
  std::string path;
  std::vector<std::int64_t> extents;
  std::vector<std::byte> elements;
};

std::int64_t big_endian(const std::byte* at) {
  std::int64_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::int64_t>(at[i]);
  return value;
}

Idx read_idx(const std::string& path) {
  auto bytes = read_bytes(path);
  const auto bad = [&](const std::string& why) {
    return Error(Fault::data, fmt::format("'{}' {}", path, why), "download it again and compare sizes");
  };
  if (bytes.size() < 4 || bytes[0] != std::byte{0} || bytes[1] != std::byte{0})
    throw bad("is not an IDX file");
  if (std::to_integer<int>(bytes[2]) != kUnsignedBytes) {
    throw bad(fmt::format("holds elements of IDX type {:#04x}; only bytes (0x08) are images or labels",
                          std::to_integer<int>(bytes[2])));
  }
  const auto rank = std::to_integer<std::size_t>(bytes[3]);
  const std::size_t header = 4 + 4 * rank;
  if (rank == 0 || bytes.size() < header) throw bad("ends inside its header");
  Idx idx{path, {}, {}};
  std::size_t count = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    idx.extents.push_back(big_endian(bytes.data() + 4 + 4 * axis));
    if (__builtin_mul_overflow(count, static_cast<std::size_t>(idx.extents.back()), &count))
      throw bad(fmt::format("should hold {} bytes, more than there can be", Shape(idx.extents).text()));
  }
  if (bytes.size() - header != count) {
    throw bad(
        fmt::format("should hold {} bytes after its header but holds {}", count, bytes.size() - header));
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header));
  idx.elements = std::move(bytes);
  return idx;
}

/// The file called `name`, with dots for dashes and .gz tried too.
std::string find_file(const std::string& folder, const std::string& name) {
  std::string dotted = name;
  if (const auto dash = dotted.find("-idx"); dash != std::string::npos) dotted[dash] = '.';
  for (const auto& candidate : {name, name + ".gz", dotted, dotted + ".gz"}) {
    const auto path = std::filesystem::path(folder) / candidate;
    std::error_code unknown;
    if (std::filesystem::exists(path, unknown)) return path.string();
  }
  throw Error(Fault::data, fmt::format("'{}' has no file '{}' (nor '{}.gz')", folder, name, name),
              "name the folder that holds the four IDX files");
}

LabelledImages read_split(const std::string& folder, const std::string& prefix) {
  auto images = read_idx(find_file(folder, prefix + "-images-idx3-ubyte"));
  const auto labels = read_idx(find_file(folder, prefix + "-labels-idx1-ubyte"));
  if (images.extents.size() != 3 || labels.extents.size() != 1) {
    throw Error(Fault::data,
                fmt::format("'{}' has {} axes and '{}' has {}; images have 3 and labels 1", images.path,
                            images.extents.size(), labels.path, labels.extents.size()),
                "check that the files were not mixed up");
  }
  if (images.extents[0] != labels.extents[0]) {
    throw Error(Fault::data,
                fmt::format("'{}' has {} images but '{}' has {} labels", images.path, images.extents[0],
                            labels.path, labels.extents[0]),
                "download both files again");
  }
  LabelledImages split{
      images.path, Shape{1, images.extents[1], images.extents[2]}, std::move(images.elements), {}};
  for (const std::byte label : labels.elements) split.labels.push_back(std::to_integer<std::int32_t>(label));
  return split;
}

std::int64_t count_classes(const Options& settings, const LabelledImages& train) {
  if (const auto given = settings.integer("classes"); given > 0) return given;
  if (const auto names = settings.texts("class_names"); !names.empty()) {
    return static_cast<std::int64_t>(names.size());
  }
  return train.labels.empty() ? 0 : 1 + *std::ranges::max_element(train.labels);
}

Written import_idx(const Options& settings) {
  const std::string folder = settings.text("input");
  const auto train = read_split(folder, "train");
  const auto test = read_split(folder, "t10k");
  const std::int64_t classes = count_classes(settings, train);
  ChannelStatistics statistics(labelled_image_tensors(train.shape)[0]);
  (void)statistics.add(train.pixels.data(), static_cast<std::int64_t>(train.labels.size()));
  SetWriter writer(settings);
  write_labelled_images(writer, "train", train, classes);
  write_labelled_images(writer, "test", test, classes);
  write_image_facts(writer, statistics, classes, settings.texts("class_names"));
  return writer.finish();
}

}  // namespace

const DataTool kIdxImporter{"idx", "MNIST-like IDX files, gzipped or not", kSettings, import_idx};

}  // namespace lockstep::data
