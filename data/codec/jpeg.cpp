// JPEG through libjpeg (turbo), whose errors leave by longjmp: the decompressor lives outside the jump.
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/codec/codec.h"

namespace lockstep::data {
namespace {

struct Failure {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr codec) {
  auto* failure = reinterpret_cast<Failure*>(codec->err);
  codec->err->format_message(codec, failure->message);
  std::longjmp(failure->jump, 1);
}

/// Warnings mean damaged data that libjpeg papers over; a training set should not.
void warn(j_common_ptr codec, int level) {
  if (level < 0) fail(codec);
}

struct Decompressor {
  jpeg_decompress_struct codec{};
  Failure failure{};
  Decompressor() {
    codec.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = fail;
    failure.manager.emit_message = warn;
    jpeg_create_decompress(&codec);
  }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
  ~Decompressor() { jpeg_destroy_decompress(&codec); }
};

/// Holds no object with a destructor, so that a jump out of it loses nothing. False: see failure.message.
bool decode(Decompressor& decompressor, std::span<const std::byte> bytes, Image& image) {
  auto& codec = decompressor.codec;
  if (setjmp(decompressor.failure.jump) != 0) return false;
  jpeg_mem_src(&codec, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&codec, TRUE);
  codec.out_color_space = JCS_RGB;
  jpeg_start_decompress(&codec);
  image.height = codec.output_height;
  image.width = codec.output_width;
  image.pixels.resize(static_cast<std::size_t>(image.height * image.width) * 3);
  while (codec.output_scanline < codec.output_height) {
    JSAMPROW row =
        image.pixels.data() + static_cast<std::size_t>(codec.output_scanline * codec.output_width) * 3;
    jpeg_read_scanlines(&codec, &row, 1);
  }
  jpeg_finish_decompress(&codec);
  return true;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& path) {
  Decompressor decompressor;
  Image image;
  if (!decode(decompressor, bytes, image)) {
    throw Error(Fault::data,
                fmt::format("'{}' is a damaged JPEG file: {}", path, decompressor.failure.message),
                "replace it, or take it out of the folder");
  }
  return image;
}

}  // namespace lockstep::data
