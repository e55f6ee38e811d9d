// Imports any numeric datasets of foreign HDF5 files: their leading axes become samples, part of them is held
// back for validation, and statistics for normalisation are added.
#include <algorithm>
#include <optional>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/hdf5_file.h"
#include "data/statistics.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

constexpr Setting kOwnSettings[] = {
    {"input", SettingType::text, nullptr, "HDF5 file to read"},
    {"tensors", SettingType::texts, nullptr,
     "what becomes which tensor: [field=/trefht] or [image=/x, label=/y]"},
    {"sample_axes", SettingType::integer, "1",
     "leading axes that count samples: 2 for [member, time, latitude, longitude]", "[1,8]"},
    {"held_back", SettingType::integers, "[]",
     "places along the first axis that become the validation split"},
    {"validation_fraction", SettingType::real, "0",
     "part of the end of the first axis that becomes the validation split", "[0,1)"},
    {"classes", SettingType::integer, "0", "number of classes of the labels; 0: they have none", "[0,inf)"},
};
constexpr auto kSettings = with_output(kOwnSettings);

/// One dataset on its way to becoming a tensor.
struct Source {
  Hdf5Array array;
  TensorSpec tensor;
  std::int64_t samples_per_place = 1;  ///< along the first axis
};

Source make_source(const Hdf5File& file, const std::string& mapping, int sample_axes) {
  const auto equals = mapping.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == mapping.size()) {
    throw Error(Fault::config, fmt::format("'{}' does not map a tensor to a dataset", mapping),
                "write name=/path/of/dataset, for example field=/trefht");
  }
  const std::string name = mapping.substr(0, equals);
  if (name == "." || name.find('/') != std::string::npos) {
    throw Error(Fault::config, fmt::format("'{}' cannot name a tensor", name),
                "name it by a word without '/', for example field=/trefht");
  }
  auto array = file.dataset(mapping.substr(equals + 1));
  const auto& storage = array.storage();
  if (!storage.dtype || storage.shape.rank() < sample_axes) {
    throw Error(Fault::data,
                fmt::format("{} of type {} and shape {} has no {} axes of numbers", array.where(),
                            storage.type, storage.shape.text(), sample_axes),
                "choose another dataset or fewer sample_axes");
  }
  const auto& extents = storage.shape.extents();
  std::vector<std::int64_t> inner(extents.begin() + sample_axes, extents.end());
  if (inner.size() == 2) inner.insert(inner.begin(), 1);  // a plane is a field of one channel
  Source source{array, {name, *storage.dtype, Shape(inner)}, 1};
  for (int axis = 1; axis < sample_axes; ++axis) source.samples_per_place *= storage.shape[axis];
  return source;
}

std::vector<Source> make_sources(const Hdf5File& file, const Options& settings) {
  std::vector<Source> sources;
  for (const auto& mapping : settings.texts("tensors")) {
    sources.push_back(make_source(file, mapping, static_cast<int>(settings.integer("sample_axes"))));
    const auto& first = sources.front();
    const auto& last = sources.back();
    const auto is_it = [&](const Source& each) { return each.tensor.name == last.tensor.name; };
    if (std::ranges::count_if(sources, is_it) > 1) {
      throw Error(Fault::config, fmt::format("two datasets are mapped to tensor '{}'", last.tensor.name),
                  "give each a name of its own");
    }
    const auto places = [](const Source& source) { return source.array.storage().shape[0]; };
    if (places(last) != places(first) || last.samples_per_place != first.samples_per_place) {
      throw Error(Fault::data,
                  fmt::format("{} counts {} samples but {} counts {}", last.array.where(),
                              places(last) * last.samples_per_place, first.array.where(),
                              places(first) * first.samples_per_place),
                  "tensors of one set have one row per sample each");
    }
  }
  if (sources.empty()) throw Error(Fault::config, "no tensors were named", "set tensors: [field=/dataset]");
  return sources;
}

/// For each place along the first axis: does validation get it?
std::vector<bool> held_back(const Options& settings, std::int64_t places) {
  std::vector<bool> held(static_cast<std::size_t>(places), false);
  for (const auto place : settings.integers("held_back")) {
    if (place < 0 || place >= places) {
      throw Error(Fault::config, fmt::format("held_back names place {} of {}", place, places),
                  "places count from 0");
    }
    held[static_cast<std::size_t>(place)] = true;
  }
  const auto end =
      static_cast<std::int64_t>(settings.real("validation_fraction") * static_cast<double>(places));
  std::fill(held.end() - end, held.end(), true);
  if (std::ranges::find(held, false) == held.end()) {
    throw Error(Fault::config, fmt::format("all {} places are held back; none is left to train on", places),
                "hold back fewer");
  }
  return held;
}

class Copier {
 public:
  Copier(SetWriter& writer, std::vector<Source> sources)
      : writer_(writer), sources_(std::move(sources)), blocks_(sources_.size()) {
    const auto numeric =
        std::ranges::find_if(sources_, [](const Source& source) { return source.tensor.shape.rank() > 0; });
    if (numeric == sources_.end()) return;
    measured_ = static_cast<std::size_t>(numeric - sources_.begin());
    statistics_.emplace(numeric->tensor);
  }

  void copy(const std::string& split, const std::vector<bool>& held, bool which) {
    std::vector<TensorSpec> tensors;
    for (const auto& source : sources_) tensors.push_back(source.tensor);
    writer_.begin_split(split, tensors);
    for (std::size_t place = 0; place < held.size(); ++place) {
      if (held[place] == which) copy_place(static_cast<std::int64_t>(place), !which);
    }
  }

  void write_facts() const {
    if (!statistics_) return;
    writer_.fact("mean", statistics_->mean());
    writer_.fact("deviation", statistics_->deviation());
  }

 private:
  void copy_place(std::int64_t place, bool measure) {
    std::vector<const std::byte*> pointers;
    const std::int64_t samples = sources_.front().samples_per_place;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const auto& tensor = sources_[i].tensor;
      blocks_[i].resize(tensor.bytes() * static_cast<std::size_t>(samples));
      sources_[i].array.read_rows(
          place, 1, {blocks_[i].data(), tensor.shape.count() * samples, tensor.dtype, Device{}});
      pointers.push_back(blocks_[i].data());
    }
    if (measure && statistics_ && !statistics_->add(blocks_[measured_].data(), samples)) {
      throw Error(Fault::data,
                  fmt::format("{} holds values that are not finite at place {}",
                              sources_[measured_].array.where(), place),
                  "replace missing values before importing");
    }
    writer_.append(samples, pointers);
  }

  SetWriter& writer_;
  std::vector<Source> sources_;
  std::vector<std::vector<std::byte>> blocks_;
  std::size_t measured_ = 0;
  std::optional<ChannelStatistics> statistics_;
};

Written import_hdf5(const Options& settings) {
  const auto file = Hdf5File::open(settings.text("input"));
  auto sources = make_sources(file, settings);
  const auto held = held_back(settings, sources.front().array.storage().shape[0]);
  SetWriter writer(settings);
  Copier copier(writer, std::move(sources));
  copier.copy("train", held, false);
  if (std::ranges::find(held, true) != held.end()) copier.copy("validation", held, true);
  copier.write_facts();
  if (settings.integer("classes") > 0) writer.fact("classes", settings.integer("classes"));
  return writer.finish();
}

}  // namespace

const DataTool kHdf5Importer{"hdf5", "datasets of any HDF5 file", kSettings, import_hdf5};

}  // namespace lockstep::data
