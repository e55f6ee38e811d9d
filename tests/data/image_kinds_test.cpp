// Images of other kinds than plain RGB, of any size, and folders with other things in them.
#include <array>
#include <cstdio>
#include <fstream>

#include <jpeglib.h>
#include <png.h>

#include <gtest/gtest.h>

#include "data/bytes_file.h"
#include "data/codec/codec.h"
#include "imports.h"

namespace lockstep::data {
namespace {

using Pixels = std::vector<std::uint8_t>;

void write_png(const std::string& path, int height, int width, png_uint_32 format, const Pixels& pixels) {
  png_image codec{};
  codec.version = PNG_IMAGE_VERSION;
  codec.width = static_cast<png_uint_32>(width);
  codec.height = static_cast<png_uint_32>(height);
  codec.format = format;
  ASSERT_NE(png_image_write_to_file(&codec, path.c_str(), 0, pixels.data(), 0, nullptr), 0) << codec.message;
}

/// One gray level all over, which survives compression.
void write_gray_jpeg(const std::string& path, int height, int width, std::uint8_t level) {
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  jpeg_stdio_dest(&codec, file);
  codec.image_width = static_cast<JDIMENSION>(width);
  codec.image_height = static_cast<JDIMENSION>(height);
  codec.input_components = 1;
  codec.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&codec);
  jpeg_start_compress(&codec, TRUE);
  Pixels line(static_cast<std::size_t>(width), level);
  JSAMPROW row = line.data();
  while (codec.next_scanline < codec.image_height) jpeg_write_scanlines(&codec, &row, 1);
  jpeg_finish_compress(&codec);
  jpeg_destroy_compress(&codec);
  std::fclose(file);
}

class ImageKinds : public testing::Test {
 protected:
  /// The path of a file in a class folder, made when needed.
  std::string in(const std::string& folder, const std::string& name) {
    std::filesystem::create_directories(folder_.file("in/" + folder));
    return folder_.file("in/" + folder + "/" + name);
  }
  void put_flat(const std::string& folder, const std::string& name, int height, int width,
                std::uint8_t level) {
    write_png(in(folder, name), height, width, PNG_FORMAT_GRAY,
              Pixels(static_cast<std::size_t>(height * width), level));
  }
  [[nodiscard]] Given given(const Given& more = {}) const {
    return with({{"input", folder_.file("in")}, {"output", folder_.file("o.h5")}, {"size", "4"}}, more);
  }
  [[nodiscard]] std::unique_ptr<Dataset> open(const std::string& split) const {
    return open_hdf5({folder_.file("o.h5")}, split);
  }
  Image decode(const std::string& path) { return decode_image(read_bytes(path), path); }
  TemporaryFolder folder_;
};

TEST_F(ImageKinds, gray_images_have_three_equal_channels) {
  write_png(folder_.file("g.png"), 1, 3, PNG_FORMAT_GRAY, {0, 128, 255});
  EXPECT_EQ(decode(folder_.file("g.png")).pixels, (Pixels{0, 0, 0, 128, 128, 128, 255, 255, 255}));
  write_gray_jpeg(folder_.file("g.jpg"), 8, 8, 77);
  const auto image = decode(folder_.file("g.jpg"));
  EXPECT_EQ(image.height, 8);
  EXPECT_EQ(image.pixels, Pixels(192, 77));
}

TEST_F(ImageKinds, what_shines_through_is_black) {
  write_png(folder_.file("a.png"), 1, 2, PNG_FORMAT_RGBA, {200, 100, 50, 255, 200, 100, 50, 0});
  EXPECT_EQ(decode(folder_.file("a.png")).pixels, (Pixels{200, 100, 50, 0, 0, 0}));
}

TEST_F(ImageKinds, smallest_image_is_one_pixel) {
  write_png(folder_.file("1.png"), 1, 1, PNG_FORMAT_RGB, {1, 2, 3});
  EXPECT_EQ(decode(folder_.file("1.png")).pixels, (Pixels{1, 2, 3}));
}

TEST_F(ImageKinds, cut_files_of_either_kind_are_refused_at_any_length) {
  Pixels noise;
  for (int i = 0; i < 64 * 64 * 3; ++i) noise.push_back(static_cast<std::uint8_t>(i * 37 % 251));
  write_png(folder_.file("a.png"), 64, 64, PNG_FORMAT_RGB, noise);
  write_gray_jpeg(folder_.file("a.jpg"), 64, 64, 99);
  for (const char* name : {"a.png", "a.jpg"}) {
    const auto whole = read_bytes(folder_.file(name));
    for (const std::size_t percent : {0U, 1U, 10U, 50U, 90U}) {
      const std::span part(whole.data(), whole.size() * percent / 100);
      const auto error = error_of([&] { (void)decode_image(part, name); });
      EXPECT_EQ(error.fault(), Fault::data);
      EXPECT_TRUE(mentions(error, name)) << error.what();
    }
  }
}

TEST_F(ImageKinds, images_of_any_size_become_the_same_square) {
  const std::array<std::pair<int, int>, 5> sizes{{{1, 1}, {4, 4}, {3, 50}, {50, 3}, {17, 9}}};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    put_flat("only", std::to_string(i) + ".png", sizes.at(i).first, sizes.at(i).second,
             static_cast<std::uint8_t>(10 * i));
  }
  (void)run("images", given({{"test_fraction", "0"}}));
  const auto pixels = stored<std::uint8_t>(*open("train"), "image");
  ASSERT_EQ(pixels.size(), 5U * 48);
  for (std::size_t i = 0; i < pixels.size(); ++i) ASSERT_EQ(pixels[i], 10 * (i / 48)) << i;
}

TEST_F(ImageKinds, threads_do_not_change_the_file) {
  for (int i = 0; i < 150; ++i)
    put_flat(i % 2 == 0 ? "a" : "b", std::to_string(i) + ".png", 5, 5, static_cast<std::uint8_t>(i));
  (void)run("images", given({{"threads", "1"}}));
  const auto one = read_bytes(folder_.file("o.h5"));
  (void)run("images", given({{"threads", "7"}}));
  EXPECT_TRUE(read_bytes(folder_.file("o.h5")) == one);
}

TEST_F(ImageKinds, seed_chooses_the_test_images_and_every_image_is_used_once) {
  for (int i = 0; i < 40; ++i) put_flat("a", std::to_string(i) + ".png", 4, 4, static_cast<std::uint8_t>(i));
  std::vector<std::vector<std::uint8_t>> chosen;
  for (const char* seed : {"1", "2"}) {
    EXPECT_EQ(run("images", given({{"test_fraction", "0.25"}, {"seed", seed}})).splits,
              (Splits{{"train", 30}, {"test", 10}}));
    std::vector<int> seen(40, 0);
    chosen.emplace_back();
    for (const char* split : {"train", "test"}) {
      const auto pixels = stored<std::uint8_t>(*open(split), "image");
      for (std::size_t i = 0; i < pixels.size(); i += 48) {
        ++seen.at(pixels[i]);
        if (std::string(split) == "test") chosen.back().push_back(pixels[i]);
      }
    }
    EXPECT_EQ(seen, std::vector<int>(40, 1));
  }
  EXPECT_NE(chosen[0], chosen[1]);
}

TEST_F(ImageKinds, hidden_files_and_folders_are_left_out_and_names_sort_the_classes) {
  put_flat("dog", "1.png", 4, 4, 20);
  put_flat("cat", "1.png", 4, 4, 10);
  put_flat(".cache", "1.png", 4, 4, 99);
  write_file(in("cat", ".DS_Store"), "not an image");
  EXPECT_EQ(run("images", given({{"test_fraction", "0"}})).splits, (Splits{{"train", 2}}));
  EXPECT_EQ(open("train")->fact("class_names"), "cat\ndog");
  EXPECT_EQ(stored<std::uint8_t>(*open("train"), "image").front(), 10);
}

TEST_F(ImageKinds, folders_without_any_image_are_refused) {
  std::filesystem::create_directories(folder_.file("in/cat"));
  std::filesystem::create_directories(folder_.file("in/dog"));
  const auto error = refused("images", given());
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "'train'") && mentions(error, "no samples")) << error.what();
}

TEST_F(ImageKinds, failure_in_one_of_many_is_told_by_name_from_any_thread) {
  for (int i = 0; i < 80; ++i) put_flat("a", std::to_string(i) + ".png", 4, 4, 1);
  write_file(in("a", "41.png"), "\x89PNG\r\n\x1a\nand then nothing");
  for (const char* threads : {"1", "6"}) {
    EXPECT_TRUE(mentions(refused("images", given({{"threads", threads}})), "a/41.png")) << threads;
  }
}

}  // namespace
}  // namespace lockstep::data
