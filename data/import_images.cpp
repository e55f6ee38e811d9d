// Imports folders of JPEG or PNG images, one folder per class: each image is resized so that its shorter side
// fits, cropped to the square in the middle, and stored as 8-bit RGB planes.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/assemble.h"
#include "data/bytes_file.h"
#include "data/codec/codec.h"
#include "data/labelled_images.h"
#include "data/resample.h"
#include "data/sampler.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

namespace fs = std::filesystem;

constexpr Setting kOwnSettings[] = {
    {"input", SettingType::text, nullptr,
     "folder of class folders, or of train and test (or val, validation) with class folders in each"},
    {"size", SettingType::integer, "224", "side of the stored square images", "[1,8192]"},
    {"test_fraction", SettingType::real, "0.1",
     "part of the images that becomes the test split when the folder has no splits of its own", "[0,1)"},
    {"seed", SettingType::integer, "1", "of the choice of test images", "[0,inf)"},
    {"threads", SettingType::integer, "2", "threads that decode", "[1,256]"},
};
constexpr auto kSettings = with_output(kOwnSettings);
constexpr std::size_t kBatch = 64;  ///< images decoded together

struct Labelled {
  std::string path;
  std::int32_t label = 0;
};
using Split = std::pair<std::string, std::vector<Labelled>>;

std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> entries;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder, failure)) {
    const bool hidden = entry.path().filename().string().starts_with('.');
    std::error_code unknown;  // a link that leads nowhere is no folder
    if (!hidden && entry.is_directory(unknown) == folders) entries.push_back(entry.path());
  }
  if (failure) {
    throw Error(Fault::data, fmt::format("cannot list '{}': {}", folder.string(), failure.message()),
                "check the path");
  }
  std::ranges::sort(entries);
  return entries;
}

std::vector<std::string> class_names_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : sorted_entries(folder, true)) names.push_back(entry.filename().string());
  if (names.empty()) {
    throw Error(Fault::data, fmt::format("'{}' has no class folders", folder.string()),
                "put the images of each class into a folder of its own");
  }
  return names;
}

std::vector<Labelled> list_images(const fs::path& folder, const std::vector<std::string>& names) {
  if (class_names_of(folder) != names) {
    throw Error(Fault::data,
                fmt::format("'{}' has other class folders than the training split", folder.string()),
                "every split needs the same classes");
  }
  std::vector<Labelled> images;
  for (std::size_t label = 0; label < names.size(); ++label) {
    for (const auto& file : sorted_entries(folder / names[label], false)) {
      images.push_back({file.string(), static_cast<std::int32_t>(label)});
    }
  }
  return images;
}

/// A random part becomes the test split; both keep the order of names.
std::vector<Split> split_randomly(const std::vector<Labelled>& images, double fraction, std::uint64_t seed) {
  const auto count = static_cast<std::int64_t>(images.size());
  const auto test = static_cast<std::int64_t>(std::llround(fraction * static_cast<double>(count)));
  std::vector<bool> chosen(images.size(), false);
  const EpochOrder order(seed, 0, count);
  for (std::int64_t i = 0; i < test; ++i) chosen[static_cast<std::size_t>(order(i))] = true;
  std::vector<Split> splits{{"train", {}}, {"test", {}}};
  for (std::size_t i = 0; i < images.size(); ++i) splits[chosen[i] ? 1 : 0].second.push_back(images[i]);
  if (test == 0) splits.pop_back();
  return splits;
}

std::vector<Split> find_splits(const Options& settings, std::vector<std::string>& names) {
  const fs::path root(settings.text("input"));
  std::error_code unknown;
  if (!fs::is_directory(root / "train", unknown)) {
    names = class_names_of(root);
    return split_randomly(list_images(root, names), settings.real("test_fraction"),
                          static_cast<std::uint64_t>(settings.integer("seed")));
  }
  names = class_names_of(root / "train");
  std::vector<Split> splits{{"train", list_images(root / "train", names)}};
  for (const auto& [folder, split] :
       {std::pair("test", "test"), std::pair("val", "validation"), std::pair("validation", "validation")}) {
    if (fs::is_directory(root / folder, unknown))
      splits.emplace_back(split, list_images(root / folder, names));
  }
  return splits;
}

/// The middle square of an image, as planes of bytes.
void fit_square(const Image& image, std::int64_t size, std::byte* into) {
  const auto plane = static_cast<std::size_t>(image.height * image.width);
  const auto side = static_cast<double>(std::min(image.height, image.width));
  const Box middle{(static_cast<double>(image.height) - side) / 2,
                   (static_cast<double>(image.width) - side) / 2, side, side};
  const Resampler resampler({image.height, image.width}, middle, {size, size});
  std::vector<float> channel(plane);
  std::vector<float> square(static_cast<std::size_t>(size * size));
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t i = 0; i < plane; ++i) channel[i] = image.pixels[3 * i + c];
    resampler.apply(channel.data(), square.data());
    for (const float value : square)
      *into++ = static_cast<std::byte>(std::lround(std::clamp(value, 0.0F, 255.0F)));
  }
}

/// Runs work(i) for i in [0, count) on several threads; throws the first failure.
template <class Work>
void in_parallel(std::size_t count, std::int64_t threads, const Work& work) {
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex lock;
  {
    std::vector<std::jthread> workers;
    for (std::int64_t t = 0; t < threads; ++t) {
      workers.emplace_back([&] {
        try {
          for (std::size_t i = next++; i < count; i = next++) work(i);
        } catch (...) {
          const std::scoped_lock hold(lock);
          if (!failure) failure = std::current_exception();
          next = count;
        }
      });
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void write_split(SetWriter& writer, const Split& split, const Options& settings,
                 ChannelStatistics* statistics) {
  const std::int64_t size = settings.integer("size");
  const auto tensors = labelled_image_tensors(Shape{3, size, size});
  const auto& images = split.second;
  writer.begin_split(split.first, tensors);
  std::vector<std::byte> pixels(kBatch * tensors[0].bytes());
  for (std::size_t first = 0; first < images.size(); first += kBatch) {
    const std::size_t count = std::min(kBatch, images.size() - first);
    in_parallel(count, settings.integer("threads"), [&](std::size_t i) {
      const auto& path = images[first + i].path;
      fit_square(decode_image(read_bytes(path), path), size, pixels.data() + i * tensors[0].bytes());
    });
    std::vector<std::int32_t> labels;
    for (std::size_t i = 0; i < count; ++i) labels.push_back(images[first + i].label);
    if (statistics != nullptr) (void)statistics->add(pixels.data(), static_cast<std::int64_t>(count));
    const std::array<const std::byte*, 2> blocks{pixels.data(), bytes_of(labels)};
    writer.append(static_cast<std::int64_t>(count), blocks);
  }
}

Written import_images(const Options& settings) {
  std::vector<std::string> names;
  const auto splits = find_splits(settings, names);
  SetWriter writer(settings);
  const std::int64_t size = settings.integer("size");
  ChannelStatistics statistics(labelled_image_tensors(Shape{3, size, size})[0]);
  for (const auto& split : splits) {
    write_split(writer, split, settings, split.first == "train" ? &statistics : nullptr);
  }
  write_image_facts(writer, statistics, static_cast<std::int64_t>(names.size()), names);
  return writer.finish();
}

}  // namespace

const DataTool kImagesImporter{"images", "a folder of JPEG or PNG images per class", kSettings,
                               import_images};

}  // namespace lockstep::data
