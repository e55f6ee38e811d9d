#include "data/info.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

#include "data/hdf5_file.h"

namespace lockstep::data {
namespace {

constexpr int kDeepest = 16;               ///< groups within groups; links may run in circles
constexpr std::size_t kLongestText = 100;  ///< of an attribute
constexpr std::size_t kMostClasses = 20;
constexpr std::int64_t kBlockBytes = 4 << 20;  ///< read at a time

std::string layout_text(const Hdf5Storage& storage) {
  switch (storage.layout) {
    case Hdf5Layout::contiguous:
      return "contiguous";
    case Hdf5Layout::compact:
      return "compact";
    case Hdf5Layout::chunked:
      return "chunks " + storage.chunk.text();
    case Hdf5Layout::other:
      return "external or virtual";
  }
  return {};
}

std::string bytes_text(std::int64_t bytes) {
  const auto number = static_cast<double>(bytes);
  if (bytes < 10'000) return fmt::format("{} B", bytes);
  if (bytes < 10'000'000) return fmt::format("{:.1f} kB", number / 1e3);
  return bytes < 10'000'000'000 ? fmt::format("{:.1f} MB", number / 1e6)
                                : fmt::format("{:.1f} GB", number / 1e9);
}

/// Text on one line, cut when long.
std::string one_line(std::string text) {
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
    text.replace(at, 1, ", ");
  }
  if (text.size() <= kLongestText) return text;
  return fmt::format("{}... ({} characters)", text.substr(0, kLongestText - 3), text.size());
}

bool is_class_label(const std::string& name, const Hdf5Storage& storage) {
  const bool whole = storage.dtype == Dtype::u8 || storage.dtype == Dtype::u16 ||
                     storage.dtype == Dtype::i32 || storage.dtype == Dtype::i64;
  return whole && storage.shape.rank() == 1 && (name == "label" || name == "labels");
}

/// Of numbers; those that are none are counted apart.
struct Range {
  double least = std::nan("");  // until there is a number
  double most = least;
  std::int64_t missing = 0;

  void add(const std::vector<double>& values) {
    for (const double value : values) {
      if (std::isnan(value)) ++missing;
      least = std::fmin(least, value);
      most = std::fmax(most, value);
    }
  }
  [[nodiscard]] std::string text() const {
    return fmt::format("values {:.6g} to {:.6g}{}", least, most,
                       missing > 0 ? fmt::format(", and {} that are no number", missing) : "");
  }
};

class Description {
 public:
  explicit Description(const std::string& path) : file_(Hdf5File::open(path)) {
    std::error_code ignored;
    out_ << fmt::format("{}: HDF5, {}\n", path,
                        bytes_text(static_cast<std::int64_t>(std::filesystem::file_size(path, ignored))));
    group("/", 1);
  }
  [[nodiscard]] std::string text() const { return out_.str(); }

 private:
  void line(int depth, const std::string& text) {
    out_ << std::string(2 * static_cast<std::size_t>(depth), ' ') << text << '\n';
  }

  void attributes(const std::string& object, int depth) {
    for (const auto& key : file_.attributes(object)) {
      line(depth, fmt::format("@{} = {}", key, one_line(file_.attribute(object, key).value_or(""))));
    }
  }

  void group(const std::string& path, int depth) {
    attributes(path, depth);
    const std::string prefix = path == "/" ? path : path + "/";
    for (const auto& name : file_.datasets(path)) dataset(prefix + name, name, depth);
    for (const auto& name : file_.groups(path)) {
      line(depth, prefix + name + "/");
      if (depth < kDeepest) group(prefix + name, depth + 1);
    }
  }

  void dataset(const std::string& path, const std::string& name, int depth) {
    try {
      const auto array = file_.dataset(path);
      const auto& storage = array.storage();
      std::string filters;
      for (const auto& filter : storage.filters) filters += ", " + filter.name;
      line(depth, fmt::format("{}  {} {}, {}{}, {} stored", name, storage.type, storage.shape.text(),
                              layout_text(storage), filters, bytes_text(storage.stored_bytes)));
      attributes(path, depth + 1);
      if (storage.dtype) contents(array, name, depth + 1);
    } catch (const Error& error) {
      line(depth, fmt::format("{}  unreadable: {}", name, error.what()));
    }
  }

  /// Reads all of it; counts classes, or finds the range of the values.
  void contents(const Hdf5Array& array, const std::string& name, int depth) {
    const auto& storage = array.storage();
    const std::int64_t rows = storage.shape.rank() == 0 ? 1 : storage.shape[0];
    if (storage.shape.count() == 0) return line(depth, "empty");
    const std::int64_t row = storage.shape.count() / rows;
    const auto block = std::clamp<std::int64_t>(kBlockBytes / (row * 8), 1, rows);
    std::vector<double> values;
    std::map<std::int64_t, std::int64_t> counts;
    Range range;
    for (std::int64_t first = 0; first < rows; first += block) {
      const std::int64_t count = std::min(block, rows - first);
      values.resize(static_cast<std::size_t>(count * row));
      array.read_rows(first, count, flat(std::span<double>(values)));
      range.add(values);
      if (!is_class_label(name, storage) || counts.size() > kMostClasses) continue;
      for (const double value : values) ++counts[static_cast<std::int64_t>(value)];
    }
    line(depth, range.text());
    if (!counts.empty() && counts.size() <= kMostClasses) {
      std::string list;
      for (const auto& [label, count] : counts)
        list += fmt::format("{}{}: {}", list.empty() ? "" : ", ", label, count);
      line(depth, "classes " + list);
    }
  }

  Hdf5File file_;
  std::ostringstream out_;
};

}  // namespace

std::string describe_file(const std::string& path) { return Description(path).text(); }

}  // namespace lockstep::data
