// IDX files: what small exact ones become, and every way in which they are refused.
#include <cmath>

#include <gtest/gtest.h>

#include "data/bytes_file.h"
#include "imports.h"

namespace lockstep::data {
namespace {

class IdxTest : public testing::Test {
 protected:
  IdxTest() {
    write_file(folder_.file("train-images-idx3-ubyte"), idx_images(4, 3));
    write_file(folder_.file("train-labels-idx1-ubyte"), idx_labels({0, 1, 2, 1}));
    write_file(folder_.file("t10k-images-idx3-ubyte"), idx_images(2, 3));
    write_file(folder_.file("t10k-labels-idx1-ubyte"), idx_labels({2, 0}));
  }
  [[nodiscard]] Given given() const {
    return {{"input", folder_.file("")}, {"output", folder_.file("out.h5")}};
  }
  TemporaryFolder folder_;
};

TEST_F(IdxTest, small_files_become_images_and_labels) {
  const auto written = run("idx", given());
  EXPECT_EQ(written.splits, (std::vector<std::pair<std::string, std::int64_t>>{{"train", 4}, {"test", 2}}));
  const auto set = open_hdf5({folder_.file("out.h5")}, "train");
  ASSERT_EQ(set->sample().size(), 2U);
  EXPECT_EQ(set->sample()[0].shape, (Shape{1, 3, 3}));
  EXPECT_EQ(set->classes(), 3);
  std::vector<std::uint8_t> pixels(18);
  std::vector<std::int32_t> labels(2);
  SampleBuffers into{
      {reinterpret_cast<std::byte*>(pixels.data()), reinterpret_cast<std::byte*>(labels.data())}};
  set->read(std::vector<std::int64_t>{3, 1}, into);
  EXPECT_EQ(pixels[0], 27);
  EXPECT_EQ(pixels[9], 9);
  EXPECT_EQ(labels, (std::vector<std::int32_t>{1, 1}));
}

TEST_F(IdxTest, image_and_label_counts_that_differ_are_refused_with_both) {
  write_file(folder_.file("t10k-labels-idx1-ubyte"), idx_labels({2, 0, 1}));
  const auto error = error_of([&] { (void)run("idx", given()); });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "2 images") && mentions(error, "3 labels")) << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5")));
}

TEST_F(IdxTest, truncated_foreign_and_missing_files_are_refused_by_name) {
  write_file(folder_.file("train-images-idx3-ubyte"), idx_images(4, 3).substr(0, 30));
  auto error = error_of([&] { (void)run("idx", given()); });
  EXPECT_TRUE(mentions(error, "train-images") && mentions(error, "36 bytes")) << error.what();
  write_file(folder_.file("train-images-idx3-ubyte"), "<html>not found</html>");
  error = error_of([&] { (void)run("idx", given()); });
  EXPECT_TRUE(mentions(error, "is not an IDX file")) << error.what();
  std::filesystem::remove(folder_.file("train-images-idx3-ubyte"));
  error = error_of([&] { (void)run("idx", given()); });
  EXPECT_TRUE(mentions(error, "no file 'train-images-idx3-ubyte'")) << error.what();
}

TEST_F(IdxTest, label_beyond_the_stated_classes_is_refused_and_leaves_no_file) {
  auto settings = given();
  settings.emplace_back("classes", "2");
  const auto error = error_of([&] { (void)run("idx", settings); });
  EXPECT_TRUE(mentions(error, "sample 2") && mentions(error, "label 2") && mentions(error, "2 classes"))
      << error.what();
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5")));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out.h5.partial")));
}

TEST_F(IdxTest, header_whose_product_overflows_is_refused_not_believed) {
  // 4 * 2^31 * 2^31 is 2^64, which a 64-bit counter takes for nothing, and so for the bytes there are.
  std::string header("\0\0\x08\x03", 4);
  for (const std::int64_t extent : {std::int64_t{4}, std::int64_t{1} << 31, std::int64_t{1} << 31})
    header += big_endian(extent);
  write_file(folder_.file("train-images-idx3-ubyte"), header);
  auto error = refused("idx", given());
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "train-images") && mentions(error, "[4, 2147483648, 2147483648]"))
      << error.what();
  std::string many("\0\0\x08\xff", 4);  // 255 axes
  for (int axis = 0; axis < 255; ++axis) many += big_endian(0xffffffff);
  write_file(folder_.file("train-images-idx3-ubyte"), many);
  error = refused("idx", given());
  EXPECT_TRUE(mentions(error, "more than there can be")) << error.what();
}

TEST_F(IdxTest, dotted_and_gzipped_names_are_found) {
  std::filesystem::remove(folder_.file("train-images-idx3-ubyte"));
  std::filesystem::remove(folder_.file("train-labels-idx1-ubyte"));
  write_file(folder_.file("train-images.idx3-ubyte"), idx_images(4, 3));
  write_gzip(folder_.file("train-labels.idx1-ubyte.gz"), idx_labels({0, 1, 2, 1}));
  EXPECT_EQ(run("idx", given()).splits, (Splits{{"train", 4}, {"test", 2}}));
}

TEST_F(IdxTest, every_pixel_and_label_is_stored_at_any_chunking) {
  for (const char* chunk : {"0", "1", "3"}) {
    (void)run("idx", with(given(), {{"chunk_samples", chunk}, {"compression", "9"}}));
    const auto set = open_hdf5({folder_.file("out.h5")}, "train");
    const auto pixels = stored<std::uint8_t>(*set, "image");
    for (std::size_t i = 0; i < pixels.size(); ++i) ASSERT_EQ(pixels[i], i);
    EXPECT_EQ(stored<std::int32_t>(*set, "label"), (std::vector<std::int32_t>{0, 1, 2, 1}));
  }
}

TEST_F(IdxTest, mean_and_deviation_are_those_of_the_training_pixels) {
  (void)run("idx", given());
  const auto set = open_hdf5({folder_.file("out.h5")}, "test");
  double mean = 0;
  double square = 0;
  for (int i = 0; i < 36; ++i) {
    mean += i / 255.0 / 36;
    square += i / 255.0 * (i / 255.0) / 36;
  }
  EXPECT_NEAR(std::stod(set->fact("mean")), mean, 1e-12);
  EXPECT_NEAR(std::stod(set->fact("deviation")), std::sqrt(square - mean * mean), 1e-12);
}

TEST_F(IdxTest, class_names_give_the_number_of_classes) {
  (void)run("idx", with(given(), {{"class_names", "[a, b, c, d]"}}));
  const auto set = open_hdf5({folder_.file("out.h5")}, "train");
  EXPECT_EQ(set->classes(), 4);
  EXPECT_EQ(set->fact("class_names"), "a\nb\nc\nd");
}

TEST_F(IdxTest, names_that_do_not_fit_the_classes_are_refused_with_both_numbers) {
  const auto error = refused("idx", with(given(), {{"class_names", "[a, b, c, d]"}, {"classes", "3"}}));
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "4 class names for 3 classes")) << error.what();
}

TEST_F(IdxTest, source_and_licence_are_kept_in_the_file) {
  (void)run("idx", with(given(), {{"source", "a test"}, {"licence", "MIT"}}));
  const auto set = open_hdf5({folder_.file("out.h5")}, "train");
  EXPECT_EQ(set->fact("source"), "a test");
  EXPECT_EQ(set->fact("licence"), "MIT");
  EXPECT_EQ(set->fact("format"), "lockstep data set 1");
}

TEST_F(IdxTest, header_that_lies_is_refused_with_what_it_says) {
  struct Case {
    std::string bytes;
    const char* what;
  };
  std::string floats = idx_images(4, 3);
  floats[2] = 0x0d;
  for (const Case& bad :
       {Case{"", "is not an IDX file"}, Case{std::string("\0\0\x08", 3), "is not an IDX file"},
        Case{std::string("\1\0\x08\x03", 4), "is not an IDX file"},
        Case{std::string("\0\0\x08\0", 4), "ends inside its header"},
        Case{idx_images(4, 3).substr(0, 15), "ends inside its header"}, Case{floats, "IDX type 0x0d"},
        Case{idx_images(4, 3) + "x", "should hold 36 bytes after its header but holds 37"}}) {
    write_file(folder_.file("train-images-idx3-ubyte"), bad.bytes);
    const auto error = refused("idx", given());
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, bad.what) && mentions(error, "train-images")) << error.what();
  }
}

TEST_F(IdxTest, images_and_labels_swapped_are_refused_with_their_axes) {
  write_file(folder_.file("train-images-idx3-ubyte"), idx_labels({0, 1}));
  const auto error = refused("idx", given());
  EXPECT_TRUE(mentions(error, "has 1 axes") && mentions(error, "images have 3 and labels 1")) << error.what();
  write_file(folder_.file("train-images-idx3-ubyte"), idx_file({4, 3, 3}));
  write_file(folder_.file("train-labels-idx1-ubyte"), idx_file({4, 1}));
  EXPECT_TRUE(mentions(refused("idx", given()), "labels-idx1-ubyte' has 2"));
}

TEST_F(IdxTest, no_samples_at_all_are_refused) {
  write_file(folder_.file("train-images-idx3-ubyte"), idx_file({0, 3, 3}));
  write_file(folder_.file("train-labels-idx1-ubyte"), idx_labels({}));
  const auto error = refused("idx", with(given(), {{"classes", "3"}}));
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "'train'") && mentions(error, "no samples")) << error.what();
}

TEST_F(IdxTest, empty_folder_and_folder_that_is_not_there_are_named) {
  const TemporaryFolder empty;
  for (const auto& input : {empty.file(""), empty.file("absent")}) {
    const auto error = refused("idx", {{"input", input}, {"output", empty.file("out.h5")}});
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_TRUE(mentions(error, input) && mentions(error, "train-images-idx3-ubyte")) << error.what();
  }
}

TEST_F(IdxTest, damaged_gzip_is_named) {
  std::filesystem::remove(folder_.file("t10k-images-idx3-ubyte"));
  write_gzip(folder_.file("t10k-images-idx3-ubyte.gz"), idx_images(2, 3));
  const auto size = std::filesystem::file_size(folder_.file("t10k-images-idx3-ubyte.gz"));
  std::filesystem::resize_file(folder_.file("t10k-images-idx3-ubyte.gz"), size - 3);
  EXPECT_TRUE(mentions(refused("idx", given()), "t10k-images-idx3-ubyte.gz"));
}

}  // namespace
}  // namespace lockstep::data
