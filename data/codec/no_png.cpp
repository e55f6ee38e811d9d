// Stands in for png.cpp in builds without libpng.
#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/codec/codec.h"

namespace lockstep::data {

Image decode_png(std::span<const std::byte>, const std::string& path) {
  throw Error(Fault::data, fmt::format("'{}' is a PNG image, which this build cannot read", path),
              "install libpng-dev and build again");
}

}  // namespace lockstep::data
