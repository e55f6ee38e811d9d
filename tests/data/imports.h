// What the tests of importers share: running one by name, small files of each format, and reading back what
// was written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <zlib.h>

#include "data/tools.h"
#include "data_files.h"

namespace lockstep::data {

using Given = std::vector<std::pair<std::string, std::string>>;
using Splits = std::vector<std::pair<std::string, std::int64_t>>;

inline Written run(const std::string& name, const Given& given) {
  const auto& tool = tool_named(importers(), "importer", name);
  return tool.run(Options::of(tool.settings, given));
}

/// The settings with some replaced or added.
inline Given with(Given settings, const Given& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline void write_gzip(const std::string& path, const std::string& bytes) {
  gzFile packed = gzopen(path.c_str(), "wb");
  if (!bytes.empty()) gzwrite(packed, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(packed);
}

/// A YAML list of one text.
inline std::string list_of(const std::string& text) {
  std::string list(1, '[');
  list += text;
  return list += ']';
}

inline std::string shared(const std::string& name) { return std::string(LOCKSTEP_SHARED_DATA) + "/" + name; }

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << (path)

inline std::string big_endian(std::int64_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

/// An IDX file of bytes 0, 1, 2, ... with these extents.
inline std::string idx_file(const std::vector<std::int64_t>& extents) {
  std::string bytes("\0\0\x08", 3);
  bytes += static_cast<char>(extents.size());
  std::int64_t count = 1;
  for (const std::int64_t extent : extents) {
    bytes += big_endian(extent);
    count *= extent;
  }
  for (std::int64_t i = 0; i < count; ++i) bytes += static_cast<char>(i);
  return bytes;
}

inline std::string idx_images(std::int64_t count, std::int64_t side) { return idx_file({count, side, side}); }

inline std::string idx_labels(const std::vector<int>& labels) {
  std::string bytes("\0\0\x08\x01", 4);
  bytes += big_endian(static_cast<std::int64_t>(labels.size()));
  for (const int label : labels) bytes += static_cast<char>(label);
  return bytes;
}

/// All elements of one tensor of a split.
template <class T>
std::vector<T> stored(const Dataset& set, const std::string& tensor) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(set.size()));
  std::iota(all.begin(), all.end(), 0);
  SampleBuffers into{std::vector<std::byte*>(set.sample().size(), nullptr)};
  for (std::size_t i = 0; i < set.sample().size(); ++i) {
    const auto& spec = set.sample()[i];
    if (spec.name != tensor) continue;
    EXPECT_EQ(spec.dtype, dtype_of<T>) << tensor;
    std::vector<T> values(all.size() * static_cast<std::size_t>(spec.shape.count()));
    into.tensors[i] = reinterpret_cast<std::byte*>(values.data());
    set.read(all, into);
    return values;
  }
  ADD_FAILURE() << "no tensor " << tensor;
  return {};
}

/// The settings are refused and leave no file behind.
inline Error refused(const std::string& importer, const Given& settings) {
  auto error = error_of([&] { (void)run(importer, settings); });
  for (const auto& [key, value] : settings) {
    if (key != "output") continue;
    EXPECT_FALSE(std::filesystem::exists(value)) << value;
    EXPECT_FALSE(std::filesystem::exists(value + ".partial")) << value;
  }
  return error;
}

}  // namespace lockstep::data
