// Samples by index from HDF5 files: one row of every dataset in the split's group.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include <glob.h>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/loader.h"
#include "data/row_reader.h"

namespace lockstep::data {
namespace {

std::vector<std::string> expand(const std::string& pattern) {
  std::error_code unknown;  // opening it tells
  if (std::filesystem::exists(pattern, unknown)) return {pattern};
  glob_t matches{};
  const int status = ::glob(pattern.c_str(), GLOB_TILDE, nullptr, &matches);
  std::vector<std::string> paths(matches.gl_pathv, matches.gl_pathv + (status == 0 ? matches.gl_pathc : 0));
  ::globfree(&matches);
  if (paths.empty()) {
    throw Error(Fault::data, fmt::format("no file '{}'", pattern),
                "check the path; `lockstep data import` and `lockstep data generate` make data files");
  }
  return paths;
}

std::string group_path(const std::string& split) {
  if (split.empty() || split == "/") return "/";
  return split.starts_with('/') ? split : "/" + split;
}

/// One file's part of the set.
struct Part {
  Hdf5File file;
  std::int64_t rows = 0;
  std::vector<std::unique_ptr<RowReader>> readers;  ///< one per tensor
};

Error no_split(const Hdf5File& file, const std::string& split, const std::string& key) {
  const auto groups = file.groups();
  return {
      Fault::data,
      fmt::format("'{}' has no split '{}'; its groups are: {}", file.path(), split,
                  groups.empty() ? "none" : fmt::format("{}", fmt::join(groups, ", "))),
      groups.empty()
          ? fmt::format("if the samples lie at the top of the file, set {} to '/'; `lockstep data import "
                        "hdf5` makes a data set of any HDF5 file",
                        key)
          : fmt::format("set {} to one of its groups, or import the file with `lockstep data import`", key)};
}

/// The tensors of a group, each with as many rows.
std::vector<TensorSpec> tensors_of(const Hdf5File& file, const std::string& group, std::int64_t& rows) {
  std::vector<TensorSpec> tensors;
  std::string counted;
  for (const auto& name : file.datasets(group)) {
    const auto array = file.dataset(group == "/" ? group + name : group + "/" + name);
    const auto& storage = array.storage();
    if (storage.shape.rank() == 0 || !storage.dtype) {
      throw Error(Fault::data,
                  fmt::format("{} cannot be a tensor of samples: type {}, shape {}", array.where(),
                              storage.type, storage.shape.text()),
                  "samples are numbers, one row each along the first axis");
    }
    if (!tensors.empty() && storage.shape[0] != rows) {
      throw Error(
          Fault::data,
          fmt::format("{} has {} rows but '{}' has {}", array.where(), storage.shape[0], counted, rows),
          "every tensor of a split has one row per sample: make the file again");
    }
    rows = storage.shape[0];
    counted = name;
    const auto& extents = storage.shape.extents();
    tensors.push_back({name, *storage.dtype, Shape(std::vector(extents.begin() + 1, extents.end()))});
  }
  return tensors;
}

bool same_tensors(const std::vector<TensorSpec>& a, const std::vector<TensorSpec>& b) {
  return std::ranges::equal(a, b, [](const TensorSpec& x, const TensorSpec& y) {
    return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape;
  });
}

std::int64_t whole_number(const std::string& text) {
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

class Hdf5Samples final : public Dataset {
 public:
  Hdf5Samples(const std::vector<std::string>& patterns, std::string split, std::size_t cache_bytes,
              const std::string& split_key)
      : split_(std::move(split)), group_(group_path(split_)), cache_(cache_bytes) {
    std::optional<Hdf5File> without;
    for (const auto& path : expand_globs(patterns)) {
      const auto file = Hdf5File::open(path);
      if (file.has_group(group_)) {
        add(file);
      } else {
        without = file;
      }
    }
    if (parts_.empty() && without) throw no_split(*without, split_, split_key);
    if (parts_.empty()) {
      throw Error(Fault::data, "no data file was named", "give `data.files` one or more HDF5 files");
    }
  }

  [[nodiscard]] std::int64_t size() const noexcept override { return size_; }
  [[nodiscard]] std::span<const TensorSpec> sample() const noexcept override { return tensors_; }
  [[nodiscard]] std::span<const FileRange> files() const noexcept override { return ranges_; }

  void read(std::span<const std::int64_t> indices, SampleBuffers& into) const override {
    for (std::size_t tensor = 0; tensor < tensors_.size(); ++tensor) {
      if (into.tensors.at(tensor) != nullptr) read_tensor(tensor, indices, into.tensors[tensor]);
    }
  }

  [[nodiscard]] std::string fact(std::string_view key) const override {
    const auto& file = parts_.front().file;
    if (auto value = file.attribute(group_, std::string(key))) return *value;
    return file.attribute("/", std::string(key)).value_or("");
  }

  [[nodiscard]] std::int64_t classes() const override {
    if (const auto stated = fact("classes"); !stated.empty()) return whole_number(stated);
    const auto names = fact("class_names");
    return names.empty() ? 0 : 1 + std::ranges::count(names, '\n');
  }

  [[nodiscard]] std::string where(std::int64_t index) const override {
    const auto part = part_of(index);
    return fmt::format("'{}', sample {} of split '{}'", ranges_[part].path, index - ranges_[part].first,
                       split_);
  }

 private:
  void add(const Hdf5File& file) {
    Part part{file, 0, {}};
    auto tensors = tensors_of(file, group_, part.rows);
    if (tensors.empty()) {
      throw Error(Fault::data, fmt::format("split '{}' of '{}' has no datasets", split_, file.path()),
                  "`lockstep data info` lists what is in a file");
    }
    if (!parts_.empty() && !same_tensors(tensors, tensors_)) {
      throw Error(Fault::data,
                  fmt::format("'{}' and '{}' hold different tensors in split '{}'",
                              parts_.front().file.path(), file.path(), split_),
                  "files of one data set have the same tensors, types and shapes");
    }
    tensors_ = std::move(tensors);
    for (const auto& tensor : tensors_) {
      part.readers.push_back(
          make_row_reader(file, group_ == "/" ? group_ + tensor.name : group_ + "/" + tensor.name, cache_));
    }
    ranges_.push_back({file.path(), size_, part.rows});
    size_ += part.rows;
    parts_.push_back(std::move(part));
  }

  [[nodiscard]] std::size_t part_of(std::int64_t index) const {
    if (index < 0 || index >= size_) {
      throw Error(Fault::internal, fmt::format("sample {} asked of a set of {}", index, size_));
    }
    const auto after = std::ranges::upper_bound(ranges_, index, {}, &FileRange::first);
    return static_cast<std::size_t>(after - ranges_.begin()) - 1;
  }

  /// Neighbouring indices are read as one run.
  void read_tensor(std::size_t tensor, std::span<const std::int64_t> indices, std::byte* into) const {
    const std::size_t bytes = tensors_[tensor].bytes();
    for (std::size_t at = 0; at < indices.size();) {
      const std::size_t part = part_of(indices[at]);
      const std::int64_t end = ranges_[part].first + ranges_[part].count;
      std::size_t run = 1;
      while (at + run < indices.size() && indices[at + run] == indices[at] + static_cast<std::int64_t>(run) &&
             indices[at + run] < end) {
        ++run;
      }
      parts_[part].readers[tensor]->read(indices[at] - ranges_[part].first, static_cast<std::int64_t>(run),
                                         into + at * bytes);
      at += run;
    }
  }

  std::string split_;
  std::string group_;
  mutable BlockCache cache_;
  std::vector<TensorSpec> tensors_;
  std::vector<Part> parts_;
  std::vector<FileRange> ranges_;
  std::int64_t size_ = 0;
};

}  // namespace

std::vector<std::string> expand_globs(const std::vector<std::string>& patterns) {
  std::vector<std::string> paths;
  for (const auto& pattern : patterns) {
    for (auto& path : expand(pattern)) paths.push_back(std::move(path));
  }
  return paths;
}

std::unique_ptr<Dataset> open_hdf5(const std::vector<std::string>& files, const std::string& split,
                                   std::size_t cache_bytes, const std::string& split_key) {
  return std::make_unique<Hdf5Samples>(files, split, cache_bytes, split_key);
}

}  // namespace lockstep::data
