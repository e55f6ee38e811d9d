// Views of images: keyed by the sample number alone, inside their bounds, exact at the simple settings; and
// resizing against values worked out by hand.
#include "data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "data_files.h"

namespace lockstep::data {
namespace {

const Normalisation kIdentity{{1.0F}, {0.0F}};

std::vector<float> counted(std::int64_t count) {
  std::vector<float> plane(static_cast<std::size_t>(count));
  std::iota(plane.begin(), plane.end(), 1.0F);
  return plane;
}

std::vector<float> seen(const Augment& augment, std::uint64_t sample, PlaneSize stored, PlaneSize output) {
  const auto plane = counted(stored.height * stored.width);
  std::vector<float> into(static_cast<std::size_t>(output.height * output.width));
  augment.apply(augment.view(sample), plane.data(), kIdentity, into.data());
  return into;
}

TEST(Augment, without_settings_the_image_passes_unchanged) {
  const Augment augment({}, {4, 6}, {4, 6});
  EXPECT_EQ(seen(augment, 7, {4, 6}, {4, 6}), counted(24));
}

TEST(Augment, evaluation_crops_the_centre_whatever_the_settings) {
  const Augment augment({.crop = Crop::resized, .flip = true, .random = false}, {4, 4}, {2, 2});
  EXPECT_EQ(seen(augment, 3, {4, 4}, {2, 2}), (std::vector<float>{6, 7, 10, 11}));
}

TEST(Augment, padded_crops_shift_by_at_most_the_padding_and_fill_with_zero) {
  const Augment augment({.crop = Crop::padded, .padding = 2, .seed = 3}, {8, 8}, {8, 8});
  std::array<int, 5> tops{};
  std::array<int, 5> lefts{};
  for (std::uint64_t sample = 0; sample < 500; ++sample) {
    const auto view = augment.view(sample);
    ++tops.at(static_cast<std::size_t>(view.box.top + 2));
    ++lefts.at(static_cast<std::size_t>(view.box.left + 2));
    const auto image = seen(augment, sample, {8, 8}, {8, 8});
    const auto zeros = std::count(image.begin(), image.end(), 0.0F);
    const double rows = 8 - std::abs(view.box.top);
    const double columns = 8 - std::abs(view.box.left);
    EXPECT_EQ(static_cast<double>(zeros), 64 - rows * columns);
  }
  for (const int count : tops) EXPECT_NEAR(count, 100, 50);
  for (const int count : lefts) EXPECT_NEAR(count, 100, 50);
}

TEST(Augment, half_of_the_images_are_mirrored) {
  const Augment augment({.flip = true, .seed = 1}, {1, 3}, {1, 3});
  int mirrored = 0;
  for (std::uint64_t sample = 0; sample < 1000; ++sample) {
    const auto image = seen(augment, sample, {1, 3}, {1, 3});
    if (image == std::vector<float>{3, 2, 1}) {
      ++mirrored;
    } else {
      EXPECT_EQ(image, (std::vector<float>{1, 2, 3}));
    }
  }
  EXPECT_NEAR(mirrored, 500, 80);  // five standard deviations
}

TEST(Augment, resized_crops_stay_inside_and_within_area_and_shape) {
  const AugmentOptions options{.crop = Crop::resized, .least_area = 0.2, .most_area = 0.9, .seed = 5};
  const Augment augment(options, {40, 60}, {16, 16});
  for (std::uint64_t sample = 0; sample < 500; ++sample) {
    const auto box = augment.view(sample).box;
    EXPECT_GE(box.top, 0);
    EXPECT_GE(box.left, 0);
    EXPECT_LE(box.top + box.height, 40);
    EXPECT_LE(box.left + box.width, 60);
    const double area = box.height * box.width / 2400;
    EXPECT_GT(area, 0.15);
    EXPECT_LT(area, 0.95);
    EXPECT_GT(box.width / box.height, 0.70);
    EXPECT_LT(box.width / box.height, 1.42);
  }
  const auto image = seen(augment, 1, {40, 60}, {16, 16});
  for (const float value : image) {
    EXPECT_GE(value, 1.0F);
    EXPECT_LE(value, 2400.0F);
  }
}

TEST(Augment, view_depends_on_seed_and_sample_number_only) {
  const AugmentOptions options{.crop = Crop::resized, .flip = true, .seed = 5};
  AugmentOptions other = options;
  other.seed = 6;
  const Augment a(options, {32, 32}, {32, 32});
  const Augment b(options, {32, 32}, {32, 32});
  const Augment c(other, {32, 32}, {32, 32});
  int same = 0;
  for (std::uint64_t sample = 0; sample < 50; ++sample) {
    EXPECT_EQ(a.view(sample).box.top, b.view(sample).box.top);
    EXPECT_EQ(a.view(sample).box.width, b.view(sample).box.width);
    same += a.view(sample).box.width == c.view(sample).box.width ? 1 : 0;
  }
  EXPECT_LT(same, 25);
}

TEST(Augment, normalisation_is_per_channel) {
  const Augment augment({}, {1, 2}, {1, 2});
  const std::vector<float> planes{1, 2, 3, 4};
  std::vector<float> into(4);
  augment.apply(augment.view(0), planes.data(), {{2.0F, 1.0F}, {-1.0F, 10.0F}}, into.data());
  EXPECT_EQ(into, (std::vector<float>{1, 3, 13, 14}));
}

TEST(Augment, crop_larger_than_the_image_is_refused) {
  EXPECT_EQ(error_of([] { const Augment augment({}, {8, 8}, {9, 9}); }).fault(), Fault::config);
  EXPECT_NO_THROW(Augment({.crop = Crop::padded, .padding = 1}, {8, 8}, {9, 9}));
  EXPECT_NO_THROW(Augment({.crop = Crop::resized}, {8, 8}, {9, 9}));
}

TEST(Resampler, same_size_is_the_identity_and_constants_stay) {
  const auto plane = counted(12);
  std::vector<float> into(12);
  Resampler({3, 4}, {3, 4}).apply(plane.data(), into.data());
  EXPECT_EQ(into, plane);
  const std::vector<float> flat_plane(7 * 5, 3.0F);
  std::vector<float> other(11 * 2);
  Resampler({7, 5}, {11, 2}).apply(flat_plane.data(), other.data());
  for (const float value : other) EXPECT_FLOAT_EQ(value, 3.0F);
}

TEST(Resampler, doubling_and_halving_match_hand_worked_values) {
  const std::vector<float> pair{0, 4};
  std::vector<float> doubled(4);
  Resampler({1, 2}, {1, 4}).apply(pair.data(), doubled.data());
  EXPECT_EQ(doubled, (std::vector<float>{0, 1, 3, 4}));
  const std::vector<float> four{0, 8, 16, 24};
  std::vector<float> halved(2);
  Resampler({1, 4}, {1, 2}).apply(four.data(), halved.data());
  // Triangle of half width 2 around 1 and 3: weights 3, 3, 1 of 7 (the fourth falls outside).
  EXPECT_NEAR(halved[0], (3 * 0 + 3 * 8 + 1 * 16) / 7.0, 1e-5);
  EXPECT_NEAR(halved[1], (1 * 8 + 3 * 16 + 3 * 24) / 7.0, 1e-5);
}

TEST(Squares, average_and_repeat_are_exact) {
  const auto plane = counted(16);
  std::vector<float> coarse(4);
  average_squares(plane.data(), 4, 4, 2, coarse.data());
  EXPECT_EQ(coarse, (std::vector<float>{3.5F, 5.5F, 11.5F, 13.5F}));
  std::vector<float> repeated(16);
  repeat_squares(coarse.data(), {2, 2}, 2, repeated.data());
  EXPECT_EQ(repeated[0], 3.5F);
  EXPECT_EQ(repeated[5], 3.5F);
  EXPECT_EQ(repeated[15], 13.5F);
}

class AssembleTest : public testing::Test {
 protected:
  /// A set with "input" f32 [2, 4, 4] = sample number + channel, "target" f32 [3], "mask" i32 [4, 4], and
  /// "plane" u8 [4, 4].
  AssembleTest() {
    auto file = Hdf5File::create(folder_.file("s.h5"));
    file.make_group("/train");
    std::vector<float> inputs, targets;
    std::vector<std::int32_t> masks;
    std::vector<std::uint8_t> planes;
    for (int sample = 0; sample < 6; ++sample) {
      for (int i = 0; i < 32; ++i) inputs.push_back(static_cast<float>(sample + i / 16));
      for (int i = 0; i < 3; ++i) targets.push_back(static_cast<float>(sample * 10 + i));
      for (int i = 0; i < 16; ++i) masks.push_back(i % 2);
      for (int i = 0; i < 16; ++i) planes.push_back(static_cast<std::uint8_t>(51 * (i % 5)));
    }
    put(file, "/train/input", Shape{6, 2, 4, 4}, inputs);
    put(file, "/train/target", Shape{6, 3}, targets);
    put(file, "/train/mask", Shape{6, 4, 4}, masks);
    put(file, "/train/plane", Shape{6, 4, 4}, planes);
    file.set_attribute("/", "mean", std::array{1.0, 2.0});
    file.set_attribute("/", "deviation", std::array{0.5, 4.0});
    file.flush();
    set_ = open_hdf5({folder_.file("s.h5")}, "train");
  }
  std::unique_ptr<Loader> loader(const std::vector<std::pair<std::string, std::string>>& given) {
    return make_loader(*set_, loader_options(given), {.microbatch = 2, .train = false});
  }
  TemporaryFolder folder_;
  std::unique_ptr<Dataset> set_;
};

TEST_F(AssembleTest, fields_are_normalised_by_the_stated_facts_and_float_targets_kept) {
  const auto each = loader({});
  EXPECT_EQ(each->spec().target, Shape{3});
  EXPECT_EQ(each->spec().target_dtype, Dtype::f32);
  EXPECT_EQ(each->spec().classes, 0);
  const auto& batch = each->next();
  const auto* input = static_cast<const float*>(batch.input);
  EXPECT_FLOAT_EQ(input[0], (0 - 1) / 0.5F);
  EXPECT_FLOAT_EQ(input[16], (1 - 2) / 4.0F);
  EXPECT_FLOAT_EQ(input[32], (1 - 1) / 0.5F);
  EXPECT_EQ(static_cast<const float*>(batch.target)[3], 10.0F);
}

TEST_F(AssembleTest, given_mean_wins_over_the_facts) {
  const auto each = loader({{"mean", "[0]"}, {"deviation", "[2]"}});
  EXPECT_FLOAT_EQ(static_cast<const float*>(each->next().input)[16], 0.5F);
}

TEST_F(AssembleTest, wrong_number_of_means_is_refused) {
  const auto error = error_of([&] { (void)loader({{"mean", "[1, 2, 3]"}}); });
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "3 values for 2 channels")) << error.what();
  EXPECT_EQ(error_of([&] { (void)loader({{"deviation", "[0]"}}); }).fault(), Fault::config);
}

TEST_F(AssembleTest, masks_become_classes_per_pixel) {
  const auto each = loader({{"target", "mask"}, {"classes", "2"}});
  EXPECT_EQ(each->spec().target, (Shape{4, 4}));
  EXPECT_EQ(each->spec().target_dtype, Dtype::i32);
  EXPECT_EQ(static_cast<const std::int32_t*>(each->next().target)[1], 1);
}

TEST_F(AssembleTest, bytes_are_scaled_and_planes_get_a_channel) {
  const auto each = loader({{"input", "plane"}, {"normalise", "false"}});
  EXPECT_EQ(each->spec().input, (Shape{1, 4, 4}));
  EXPECT_FLOAT_EQ(static_cast<const float*>(each->next().input)[1], 0.2F);
}

TEST_F(AssembleTest, crops_of_anything_but_labelled_images_are_refused) {
  EXPECT_EQ(error_of([&] { (void)loader({{"crop", "padded"}}); }).fault(), Fault::config);
  EXPECT_EQ(error_of([&] { (void)loader({{"crop_scale", "[1, 0.5]"}}); }).fault(), Fault::config);
}

TEST_F(AssembleTest, downsampled_fields_feed_means_of_squares_at_either_size) {
  const auto small =
      loader({{"target", "plane"}, {"downsample", "2"}, {"mean", "[0]"}, {"deviation", "[1]"}});
  EXPECT_EQ(small->spec().input, (Shape{1, 2, 2}));
  EXPECT_EQ(small->spec().target, (Shape{1, 4, 4}));
  const auto& batch = small->next();
  const auto* fine = static_cast<const float*>(batch.target);
  EXPECT_FLOAT_EQ(static_cast<const float*>(batch.input)[0], (fine[0] + fine[1] + fine[4] + fine[5]) / 4);
  for (const char* upsample : {"nearest", "bilinear"}) {
    const auto large = loader({{"target", "plane"},
                               {"downsample", "2"},
                               {"upsample", upsample},
                               {"mean", "[0]"},
                               {"deviation", "[1]"}});
    EXPECT_EQ(large->spec().input, (Shape{1, 4, 4}));
    const auto& wide = large->next();
    EXPECT_FLOAT_EQ(static_cast<const float*>(wide.input)[0], static_cast<const float*>(batch.input)[0]);
  }
  EXPECT_EQ(error_of([&] {
              (void)loader({{"target", "plane"}, {"downsample", "3"}});
            }).fault(),
            Fault::config);
  EXPECT_EQ(error_of([&] {
              (void)loader({{"target", "target"}, {"downsample", "2"}});
            }).fault(),
            Fault::config);
}

}  // namespace
}  // namespace lockstep::data
