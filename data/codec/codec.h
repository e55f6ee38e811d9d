// Decoding of image files. Each format is one file here, and one that refuses it by name for builds without
// its library: CMake picks (data/CMakeLists.txt).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep::data {

/// 8-bit RGB, row by row, three bytes a pixel.
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint8_t> pixels;
};

/// Thread-safe. Throw Fault::data naming `path` for damaged files, or when the build lacks the library.
[[nodiscard]] Image decode_jpeg(std::span<const std::byte> bytes, const std::string& path);
[[nodiscard]] Image decode_png(std::span<const std::byte> bytes, const std::string& path);

/// By the first bytes. Throws Fault::data for other formats.
[[nodiscard]] Image decode_image(std::span<const std::byte> bytes, const std::string& path);

}  // namespace lockstep::data
