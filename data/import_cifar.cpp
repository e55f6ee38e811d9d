// Imports CIFAR binary records: label byte(s), then the red, green and blue planes of 32 x 32.
#include <algorithm>
#include <filesystem>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/bytes_file.h"
#include "data/hdf5_file.h"
#include "data/labelled_images.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

constexpr std::size_t kPixels = 3 * 32 * 32;

constexpr Setting kOwnSettings[] = {
    {"train", SettingType::texts, nullptr, "files or globs of training records, raw, .gz or .xz"},
    {"test", SettingType::texts, nullptr, "files or globs of test records"},
    {"variant", SettingType::text, "cifar10",
     "one label byte of 10 classes, or a coarse and a fine one of 100", "cifar10|cifar100"},
    {"class_names", SettingType::text, "", "text file with a class name per line; empty: none are stored"},
};
constexpr auto kSettings = with_output(kOwnSettings);

LabelledImages read_records(const std::vector<std::string>& patterns, std::size_t label_bytes) {
  LabelledImages images{"", Shape{3, 32, 32}, {}, {}};
  const std::size_t record = label_bytes + kPixels;
  for (const auto& path : expand_globs(patterns)) {
    const auto bytes = read_bytes(path);
    if (bytes.empty() || bytes.size() % record != 0) {
      throw Error(
          Fault::data,
          fmt::format("'{}' holds {} bytes, not a whole number of records of {}", path, bytes.size(), record),
          "it is truncated or of another format; for CIFAR-100 set variant: cifar100");
    }
    for (std::size_t at = 0; at < bytes.size(); at += record) {
      images.labels.push_back(std::to_integer<std::int32_t>(bytes[at + label_bytes - 1]));
      const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(at + label_bytes);
      images.pixels.insert(images.pixels.end(), first, first + kPixels);
    }
    images.origin += (images.origin.empty() ? "" : ", ") + path;
  }
  return images;
}

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  if (path.empty()) return lines;
  const std::string text = read_text(path);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

Written import_cifar(const Options& settings) {
  const bool hundred = settings.text("variant") == "cifar100";
  const std::int64_t classes = hundred ? 100 : 10;
  const auto train = read_records(settings.texts("train"), hundred ? 2 : 1);
  const auto test = read_records(settings.texts("test"), hundred ? 2 : 1);
  ChannelStatistics statistics(labelled_image_tensors(train.shape)[0]);
  (void)statistics.add(train.pixels.data(), static_cast<std::int64_t>(train.labels.size()));
  SetWriter writer(settings);
  write_labelled_images(writer, "train", train, classes);
  write_labelled_images(writer, "test", test, classes);
  write_image_facts(writer, statistics, classes, lines_of(settings.text("class_names")));
  return writer.finish();
}

}  // namespace

const DataTool kCifarImporter{"cifar", "CIFAR-10 or CIFAR-100 binary records", kSettings, import_cifar};

}  // namespace lockstep::data
