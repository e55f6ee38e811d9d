// What `lockstep data import NAME` and `lockstep data generate NAME` can do: tables of named functions with
// declared settings. Adding one is one file, one row here (tools.cpp) and one line of CMake.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "core/options.h"
#include "data/writer.h"

namespace lockstep::data {

/// Turns something into a data set.
struct DataTool {
  std::string_view name;
  std::string_view summary;
  std::span<const Setting> settings;  ///< kOutputSettings included
  /// Throws Fault::data or Fault::config; then no file is left behind.
  Written (*run)(const Options& settings);
};

[[nodiscard]] std::span<const DataTool> importers();
[[nodiscard]] std::span<const DataTool> generators();
/// The row called `name` of either table. Throws Fault::config naming the nearest one; `kind` is "importer"
/// or "generator".
[[nodiscard]] const DataTool& tool_named(std::span<const DataTool> tools, std::string_view kind,
                                         std::string_view name);

/// The keys that every tool has. "output" must be given.
inline constexpr std::array kOutputSettings{
    Setting{"output", SettingType::text, nullptr, "HDF5 file to write"},
    Setting{"compression", SettingType::integer, "4", "deflate level; 0: none", "[0,9]"},
    Setting{"chunk_samples", SettingType::integer, "0", "samples compressed together; 0: about 64 KiB",
            "[0,inf)"},
    Setting{"samples_per_file", SettingType::integer, "0",
            "splits the set into many files of as many samples; 0: one file", "[0,inf)"},
    Setting{"source", SettingType::text, "", "where the data comes from, kept in the file"},
    Setting{"licence", SettingType::text, "", "licence of the data, kept in the file"},
};

/// A tool's own keys and kOutputSettings, for its constexpr table.
template <std::size_t N>
[[nodiscard]] constexpr auto with_output(const Setting (&own)[N]) {
  std::array<Setting, N + kOutputSettings.size()> all{};
  for (std::size_t i = 0; i < N; ++i) all[i] = own[i];
  for (std::size_t i = 0; i < kOutputSettings.size(); ++i) all[N + i] = kOutputSettings[i];
  return all;
}

/// The rows, each defined in its own file.
extern const DataTool kCifarImporter;
extern const DataTool kHdf5Importer;
extern const DataTool kIdxImporter;
extern const DataTool kImagesImporter;
extern const DataTool kTextImporter;
extern const DataTool kTokensImporter;
extern const DataTool kNoiseImagesGenerator;
extern const DataTool kNoiseTokensGenerator;
extern const DataTool kWeatherGenerator;

}  // namespace lockstep::data
