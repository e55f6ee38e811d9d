#include "data/tools.h"

#include <string>
#include <vector>

namespace lockstep::data {

std::span<const DataTool> importers() {
  static const std::array kRows{kIdxImporter,  kCifarImporter,  kImagesImporter,
                                kTextImporter, kTokensImporter, kHdf5Importer};
  return kRows;
}

std::span<const DataTool> generators() {
  static const std::array kRows{kWeatherGenerator, kNoiseImagesGenerator, kNoiseTokensGenerator};
  return kRows;
}

const DataTool& tool_named(std::span<const DataTool> tools, std::string_view kind, std::string_view name) {
  std::vector<std::string> names;
  for (const auto& tool : tools) {
    if (tool.name == name) return tool;
    names.emplace_back(tool.name);
  }
  throw unknown_name(kind, name, names);
}

}  // namespace lockstep::data
