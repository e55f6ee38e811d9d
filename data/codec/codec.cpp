#include "data/codec/codec.h"

#include <cstring>
#include <string_view>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::data {

Image decode_image(std::span<const std::byte> bytes, const std::string& path) {
  const auto starts = [&](std::string_view magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (starts("\xff\xd8\xff")) return decode_jpeg(bytes, path);
  if (starts("\x89PNG\r\n\x1a\n")) return decode_png(bytes, path);
  throw Error(Fault::data, fmt::format("'{}' is neither a JPEG nor a PNG image", path),
              "convert it, or take it out of the folder");
}

}  // namespace lockstep::data
