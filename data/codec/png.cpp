// PNG through libpng's simplified interface, which converts every kind to 8-bit RGB.
#include <png.h>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/codec/codec.h"

namespace lockstep::data {

Image decode_png(std::span<const std::byte> bytes, const std::string& path) {
  png_image codec{};
  codec.version = PNG_IMAGE_VERSION;
  Image image;
  const png_color black{};  // behind transparent pixels
  if (png_image_begin_read_from_memory(&codec, bytes.data(), bytes.size()) != 0) {
    codec.format = PNG_FORMAT_RGB;
    image.height = codec.height;
    image.width = codec.width;
    image.pixels.resize(PNG_IMAGE_SIZE(codec));
    if (png_image_finish_read(&codec, &black, image.pixels.data(), 0, nullptr) != 0) return image;
  }
  const std::string reason = codec.message;
  png_image_free(&codec);
  throw Error(Fault::data, fmt::format("'{}' is a damaged PNG file: {}", path, reason),
              "replace it, or take it out of the folder");
}

}  // namespace lockstep::data
