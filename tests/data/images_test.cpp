// Importing folders of images: JPEG and PNG decode, labels follow the folders, the stored square is the
// middle one, damaged files are named.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include <jpeglib.h>
#include <png.h>

#include <gtest/gtest.h>

#include "data/bytes_file.h"
#include "data/codec/codec.h"
#include "data/tools.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

/// Red grows to the right, green downwards, blue is `blue`.
Image ramp(std::int64_t height, std::int64_t width, std::uint8_t blue) {
  Image image{height, width, {}};
  for (std::int64_t row = 0; row < height; ++row) {
    for (std::int64_t col = 0; col < width; ++col) {
      image.pixels.push_back(static_cast<std::uint8_t>(col * 255 / std::max<std::int64_t>(1, width - 1)));
      image.pixels.push_back(static_cast<std::uint8_t>(row * 255 / std::max<std::int64_t>(1, height - 1)));
      image.pixels.push_back(blue);
    }
  }
  return image;
}

void write_png(const std::string& path, const Image& image) {
  png_image codec{};
  codec.version = PNG_IMAGE_VERSION;
  codec.width = static_cast<png_uint_32>(image.width);
  codec.height = static_cast<png_uint_32>(image.height);
  codec.format = PNG_FORMAT_RGB;
  ASSERT_NE(png_image_write_to_file(&codec, path.c_str(), 0, image.pixels.data(), 0, nullptr), 0);
}

void write_jpeg(const std::string& path, Image image) {
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  jpeg_stdio_dest(&codec, file);
  codec.image_width = static_cast<JDIMENSION>(image.width);
  codec.image_height = static_cast<JDIMENSION>(image.height);
  codec.input_components = 3;
  codec.in_color_space = JCS_RGB;
  jpeg_set_defaults(&codec);
  jpeg_set_quality(&codec, 98, TRUE);
  jpeg_start_compress(&codec, TRUE);
  while (codec.next_scanline < codec.image_height) {
    JSAMPROW row =
        image.pixels.data() + static_cast<std::size_t>(codec.next_scanline) * codec.image_width * 3;
    jpeg_write_scanlines(&codec, &row, 1);
  }
  jpeg_finish_compress(&codec);
  jpeg_destroy_compress(&codec);
  std::fclose(file);
}

Written run(const std::vector<std::pair<std::string, std::string>>& given) {
  const auto& tool = tool_named(importers(), "importer", "images");
  return tool.run(Options::of(tool.settings, given));
}

class ImagesTest : public testing::Test {
 protected:
  /// `count` images in each of the class folders cat and dog below `below`.
  void fill(const std::string& below, int count) {
    for (const auto& [name, blue] : {std::pair("cat", 50), std::pair("dog", 200)}) {
      const auto folder = folder_.file("in") + below + "/" + name;
      std::filesystem::create_directories(folder);
      for (int i = 0; i < count; ++i) {
        const auto image = ramp(20 + i, 40, static_cast<std::uint8_t>(blue));
        const auto path = folder + "/" + std::to_string(i);
        if (i % 2 == 0) {
          write_png(path + ".png", image);
        } else {
          write_jpeg(path + ".jpg", image);
        }
      }
    }
  }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> given() const {
    return {{"input", folder_.file("in")}, {"output", folder_.file("out.h5")}, {"size", "10"}};
  }
  TemporaryFolder folder_;
};

TEST_F(ImagesTest, png_decodes_exactly_and_jpeg_nearly) {
  const auto image = ramp(24, 32, 90);
  write_png(folder_.file("a.png"), image);
  write_jpeg(folder_.file("a.jpg"), image);
  for (const auto& [name, tolerance] : {std::pair("a.png", 0), std::pair("a.jpg", 8)}) {
    const auto back = decode_image(read_bytes(folder_.file(name)), name);
    EXPECT_EQ(back.height, 24);
    EXPECT_EQ(back.width, 32);
    ASSERT_EQ(back.pixels.size(), image.pixels.size());
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      ASSERT_NEAR(back.pixels[i], image.pixels[i], tolerance);
  }
}

TEST_F(ImagesTest, class_folders_become_labels_and_the_middle_square_is_kept) {
  fill("/train", 3);
  fill("/val", 2);
  const auto written = run(given());
  EXPECT_EQ(written.splits,
            (std::vector<std::pair<std::string, std::int64_t>>{{"train", 6}, {"validation", 4}}));
  const auto set = open_hdf5({folder_.file("out.h5")}, "train");
  EXPECT_EQ(set->fact("class_names"), "cat\ndog");
  EXPECT_EQ(set->sample()[0].shape, (Shape{3, 10, 10}));
  std::vector<std::uint8_t> pixels(600);
  std::vector<std::int32_t> labels(2);
  SampleBuffers into{
      {reinterpret_cast<std::byte*>(pixels.data()), reinterpret_cast<std::byte*>(labels.data())}};
  set->read(std::vector<std::int64_t>{0, 3}, into);
  EXPECT_EQ(labels, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(pixels[200], 50);   // blue of the cat
  EXPECT_EQ(pixels[500], 200);  // and of the dog
  // Of 20 x 40 the columns 10 to 30 remain: red runs from about 68 to 187, green over its whole range.
  EXPECT_NEAR(pixels[0], 68, 6);
  EXPECT_NEAR(pixels[9], 187, 6);
  EXPECT_LT(pixels[100], 16);
  EXPECT_GT(pixels[199], 239);
}

TEST_F(ImagesTest, folder_without_splits_is_split_at_random_but_repeatably) {
  fill("", 10);
  auto settings = given();
  settings.emplace_back("test_fraction", "0.25");
  const auto written = run(settings);
  EXPECT_EQ(written.splits, (std::vector<std::pair<std::string, std::int64_t>>{{"train", 15}, {"test", 5}}));
  const auto first = read_bytes(folder_.file("out.h5"));
  (void)run(settings);
  EXPECT_EQ(read_bytes(folder_.file("out.h5")), first);
}

TEST_F(ImagesTest, damaged_and_foreign_files_are_refused_by_name) {
  fill("", 2);
  const auto victim = folder_.file("in") + "/cat/1.jpg";
  std::filesystem::resize_file(victim, 300);
  auto error = error_of([&] { (void)run(given()); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "cat/1.jpg") && mentions(error, "damaged JPEG")) << error.what();
  std::filesystem::remove(victim);
  std::filesystem::resize_file(folder_.file("in") + "/dog/0.png", 60);
  error = error_of([&] { (void)run(given()); });
  EXPECT_TRUE(mentions(error, "dog/0.png") && mentions(error, "damaged PNG")) << error.what();
  std::ofstream(folder_.file("in") + "/cat/note.txt") << "not an image";
  error = error_of([&] { (void)run(given()); });
  EXPECT_TRUE(mentions(error, ".png") || mentions(error, "note.txt")) << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5")));
}

TEST_F(ImagesTest, folders_that_do_not_fit_are_refused) {
  std::filesystem::create_directories(folder_.file("in"));
  EXPECT_TRUE(mentions(error_of([&] { (void)run(given()); }), "no class folders"));
  fill("/train", 1);
  std::filesystem::create_directories(folder_.file("in") + "/test/cow");
  EXPECT_TRUE(mentions(error_of([&] { (void)run(given()); }), "other class folders"));
  std::filesystem::remove_all(folder_.file("in"));
  EXPECT_TRUE(mentions(error_of([&] { (void)run(given()); }), "cannot list"));
}

}  // namespace
}  // namespace lockstep::data
