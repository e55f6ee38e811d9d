// Stands in for jpeg.cpp in builds without libjpeg.
#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/codec/codec.h"

namespace lockstep::data {

Image decode_jpeg(std::span<const std::byte>, const std::string& path) {
  throw Error(Fault::data, fmt::format("'{}' is a JPEG image, which this build cannot read", path),
              "install libjpeg-dev and build again");
}

}  // namespace lockstep::data
