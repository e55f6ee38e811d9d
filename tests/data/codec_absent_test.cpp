// A build without libjpeg or libpng refuses such images by name and says what to install. This program links
// the stand-ins in place of the library's decoders.
#include <gtest/gtest.h>

#include "data/codec/codec.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

std::vector<std::byte> bytes_of_text(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

TEST(CodecAbsent, images_are_refused_with_the_package_to_install) {
  const auto jpeg = error_of([] { (void)decode_image(bytes_of_text("\xff\xd8\xff\xe0"), "a.jpg"); });
  EXPECT_EQ(jpeg.fault(), Fault::data);
  EXPECT_TRUE(mentions(jpeg, "a.jpg") && jpeg.hint().find("libjpeg-dev") != std::string::npos);
  const auto png = error_of([] { (void)decode_image(bytes_of_text("\x89PNG\r\n\x1a\n"), "a.png"); });
  EXPECT_TRUE(mentions(png, "a.png") && png.hint().find("libpng-dev") != std::string::npos);
}

TEST(CodecAbsent, other_formats_are_refused) {
  EXPECT_TRUE(mentions(error_of([] { (void)decode_image(bytes_of_text("GIF89a"), "a.gif"); }), "neither"));
  EXPECT_TRUE(mentions(error_of([] { (void)decode_image({}, "empty.png"); }), "neither"));
}

}  // namespace
}  // namespace lockstep::data
