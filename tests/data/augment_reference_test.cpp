// Views and resizing against independent scalar computations: the crop of every sample worked out pixel by
// pixel, resizing in double from the definition of the filter, and the same view on any rank, thread and
// microbatch.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "data/augment.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

/// A plane whose pixels tell their place and are never zero.
std::vector<float> plane_of(PlaneSize size, float first = 1) {
  std::vector<float> plane(static_cast<std::size_t>(size.height * size.width));
  std::iota(plane.begin(), plane.end(), first);
  return plane;
}

/// Pixel (row, col) of the padded, cropped, mirrored image; outside is zero.
float expected_pixel(const std::vector<float>& plane, PlaneSize stored, PlaneSize output, const View& view,
                     std::int64_t row, std::int64_t col) {
  const std::int64_t from_col = view.mirror ? output.width - 1 - col : col;
  const std::int64_t y = static_cast<std::int64_t>(view.box.top) + row;
  const std::int64_t x = static_cast<std::int64_t>(view.box.left) + from_col;
  if (y < 0 || x < 0 || y >= stored.height || x >= stored.width) return 0;
  return plane[static_cast<std::size_t>(y * stored.width + x)];
}

TEST(AugmentReference, padded_crops_and_mirrors_match_pixel_by_pixel_in_every_channel) {
  const PlaneSize stored{7, 5};
  const PlaneSize output{6, 8};
  const Augment augment({.crop = Crop::padded, .padding = 3, .flip = true, .seed = 2}, stored, output);
  auto planes = plane_of(stored);
  const auto second = plane_of(stored, 100);
  planes.insert(planes.end(), second.begin(), second.end());
  const Normalisation normalisation{{0.5F, 2.0F}, {-1.0F, 3.0F}};
  std::vector<float> image(96);
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    const View view = augment.view(sample);
    augment.apply(view, planes.data(), normalisation, image.data());
    for (std::int64_t i = 0; i < 48; ++i) {
      const std::int64_t row = i / 8, col = i % 8;
      const auto at = static_cast<std::size_t>(i);
      const float one = expected_pixel(plane_of(stored), stored, output, view, row, col);
      const float two = expected_pixel(second, stored, output, view, row, col);
      ASSERT_EQ(image[at], one * 0.5F - 1.0F) << sample << " " << i;
      ASSERT_EQ(image[48 + at], two * 2.0F + 3.0F) << sample << " " << i;
    }
  }
}

TEST(AugmentReference, padded_crops_reach_every_offset_about_equally_often) {
  const Augment augment({.crop = Crop::padded, .padding = 1, .seed = 4}, {4, 4}, {4, 4});
  std::map<std::pair<double, double>, int> seen;
  for (std::uint64_t sample = 0; sample < 9000; ++sample) {
    const Box box = augment.view(sample).box;
    ++seen[{box.top, box.left}];
  }
  EXPECT_EQ(seen.size(), 9U);  // -1, 0, 1 each way
  for (const auto& [offset, count] : seen) EXPECT_NEAR(count, 1000, 150) << offset.first << offset.second;
}

TEST(AugmentReference, mirror_does_not_depend_on_the_crop) {
  const Augment augment({.crop = Crop::padded, .padding = 1, .flip = true, .seed = 4}, {4, 4}, {4, 4});
  std::map<double, std::pair<int, int>> by_top;
  for (std::uint64_t sample = 0; sample < 6000; ++sample) {
    const View view = augment.view(sample);
    ++(view.mirror ? by_top[view.box.top].first : by_top[view.box.top].second);
  }
  for (const auto& [top, counts] : by_top) {
    EXPECT_NEAR(counts.first, (counts.first + counts.second) / 2.0, 120) << top;  // over five deviations
  }
}

/// The triangle filter of half width max(1, scale), from its definition, in double.
double weight_at(double distance, double support) { return std::max(0.0, 1 - std::abs(distance) / support); }

double resized_pixel(const std::vector<float>& plane, PlaneSize from, const Box& box, PlaneSize to,
                     std::int64_t row, std::int64_t col) {
  const double scale_y = box.height / static_cast<double>(to.height);
  const double scale_x = box.width / static_cast<double>(to.width);
  const double centre_y = box.top + (static_cast<double>(row) + 0.5) * scale_y;
  const double centre_x = box.left + (static_cast<double>(col) + 0.5) * scale_x;
  double sum = 0;
  double weights = 0;
  for (std::int64_t y = 0; y < from.height; ++y) {
    for (std::int64_t x = 0; x < from.width; ++x) {
      const double weight = weight_at(static_cast<double>(y) + 0.5 - centre_y, std::max(1.0, scale_y)) *
                            weight_at(static_cast<double>(x) + 0.5 - centre_x, std::max(1.0, scale_x));
      sum += weight * static_cast<double>(plane[static_cast<std::size_t>(y * from.width + x)]);
      weights += weight;
    }
  }
  return sum / weights;
}

void expect_resized(PlaneSize from, const Box& box, PlaneSize to) {
  std::vector<float> plane(static_cast<std::size_t>(from.height * from.width));
  for (std::size_t i = 0; i < plane.size(); ++i) plane[i] = std::sin(static_cast<float>(i) * 1.7F);
  std::vector<float> image(static_cast<std::size_t>(to.height * to.width));
  Resampler(from, box, to).apply(plane.data(), image.data());
  for (std::int64_t i = 0; i < to.height * to.width; ++i) {
    ASSERT_NEAR(image[static_cast<std::size_t>(i)],
                resized_pixel(plane, from, box, to, i / to.width, i % to.width), 2e-6)
        << from.height << "x" << from.width << " to " << to.height << "x" << to.width << " at " << i;
  }
}

TEST(ResamplerReference, any_box_and_size_match_the_definition_of_the_filter) {
  expect_resized({5, 7}, {0, 0, 5, 7}, {5, 7});
  expect_resized({5, 7}, {0, 0, 5, 7}, {13, 3});
  expect_resized({16, 9}, {2, 1, 11, 7}, {4, 4});
  expect_resized({16, 9}, {15, 8, 1, 1}, {3, 5});
  expect_resized({3, 3}, {0.25, 0.5, 1.5, 2}, {7, 7});
  expect_resized({1, 1}, {0, 0, 1, 1}, {4, 2});
  expect_resized({31, 29}, {0, 0, 31, 29}, {1, 1});
}

TEST(AugmentReference, resized_crops_match_the_filter_on_the_box_of_the_view) {
  const PlaneSize stored{20, 24};
  const PlaneSize output{8, 8};
  const Augment augment({.crop = Crop::resized, .flip = true, .seed = 9}, stored, output);
  const auto plane = plane_of(stored);
  std::vector<float> image(64);
  int mirrored = 0;
  for (std::uint64_t sample = 0; sample < 30; ++sample) {
    const View view = augment.view(sample);
    mirrored += view.mirror ? 1 : 0;
    augment.apply(view, plane.data(), {{1.0F}, {0.0F}}, image.data());
    for (std::int64_t i = 0; i < 64; ++i) {
      const std::int64_t col = view.mirror ? 7 - i % 8 : i % 8;
      ASSERT_NEAR(image[static_cast<std::size_t>(i)],
                  resized_pixel(plane, stored, view.box, output, i / 8, col), 1e-3);
    }
  }
  EXPECT_GT(mirrored, 5);
  EXPECT_LT(mirrored, 25);
}

TEST(AugmentReference, resized_crops_fill_area_and_ratio_evenly) {
  const Augment augment({.crop = Crop::resized, .least_area = 0.25, .most_area = 0.75, .seed = 1}, {400, 400},
                        {8, 8});
  double area = 0;
  double log_ratio = 0;
  double least = 1;
  double most = 0;
  constexpr int kSamples = 4000;
  for (std::uint64_t sample = 0; sample < kSamples; ++sample) {
    const Box box = augment.view(sample).box;
    const double part = box.height * box.width / 160000;
    area += part / kSamples;
    log_ratio += std::log(box.width / box.height) / kSamples;
    least = std::min(least, part);
    most = std::max(most, part);
  }
  EXPECT_NEAR(area, 0.5, 0.015);
  EXPECT_NEAR(log_ratio, 0, 0.015);
  EXPECT_LT(least, 0.27);
  EXPECT_GT(most, 0.73);
}

TEST(AugmentReference, crop_that_never_fits_falls_back_to_the_centre) {
  // Twice as wide as high and of the whole area: no such box lies in a square.
  const Augment augment(
      {.crop = Crop::resized, .least_area = 1, .most_area = 1, .least_ratio = 2, .most_ratio = 2, .seed = 1},
      {10, 10}, {6, 6});
  const Box box = augment.view(3).box;
  EXPECT_EQ(box.top, 2);
  EXPECT_EQ(box.left, 2);
  EXPECT_EQ(box.height, 6);
  EXPECT_EQ(box.width, 6);
}

TEST(AugmentReference, evaluation_of_a_small_image_enlarges_its_middle) {
  const Augment augment({.crop = Crop::resized, .random = false}, {4, 8}, {8, 8});
  const Box box = augment.view(5).box;
  EXPECT_EQ(box.top, 0);
  EXPECT_EQ(box.left, 2);
  EXPECT_EQ(box.height, 4);
  EXPECT_EQ(box.width, 4);
  EXPECT_FALSE(augment.view(5).mirror);
}

// ---- through the loader

/// 24 images of 6 x 6 whose pixels tell sample and place.
class AugmentedLoader : public testing::Test {
 protected:
  AugmentedLoader() {
    auto file = Hdf5File::create(folder_.file("a.h5"));
    file.make_group("/train");
    std::vector<float> pixels(24 * 36);
    std::iota(pixels.begin(), pixels.end(), 1.0F);
    std::vector<std::int32_t> labels(24);
    std::iota(labels.begin(), labels.end(), 0);
    put(file, "/train/image", Shape{24, 1, 6, 6}, pixels);
    put(file, "/train/label", Shape{24}, labels);
    file.set_attribute("/", "classes", std::int64_t{24});
    file.flush();
    set_ = open_hdf5({folder_.file("a.h5")}, "train");
  }

  using Seen = std::map<std::int64_t, std::vector<float>>;  ///< by global position
  /// Two epochs as `ranks` ranks see them.
  Seen seen(int ranks, std::int64_t microbatch, const std::string& threads, std::uint64_t seed = 7) {
    Seen all;
    const auto settings =
        loader_options({{"crop", "padded"}, {"crop_padding", "2"}, {"flip", "true"}, {"threads", threads}});
    const std::int64_t per_step = 12 / microbatch;
    for (int rank = 0; rank < ranks; ++rank) {
      const Shard shard = shard_of(rank, ranks, per_step);
      const auto loader =
          make_loader(*set_, settings, {.seed = seed, .microbatch = microbatch, .shard = shard});
      for (std::int64_t i = 0; i < 4 * shard.count; ++i) {
        const auto& batch = loader->next();
        const auto* input = static_cast<const float*>(batch.input);
        for (std::int64_t row = 0; row < microbatch; ++row) {
          all[batch.first_position + row] = {input + row * 36, input + (row + 1) * 36};
        }
      }
    }
    return all;
  }

  TemporaryFolder folder_;
  std::unique_ptr<Dataset> set_;
};

TEST_F(AugmentedLoader, views_depend_on_the_global_position_alone) {
  const Seen alone = seen(1, 4, "1");
  EXPECT_EQ(alone.size(), 48U);
  EXPECT_EQ(seen(1, 4, "3"), alone);
  EXPECT_EQ(seen(3, 4, "2"), alone);
  EXPECT_EQ(seen(1, 12, "1"), alone) << "other microbatches, same positions";
  EXPECT_EQ(seen(4, 1, "1"), alone);
  EXPECT_NE(seen(1, 4, "1", 8), alone);
}

TEST_F(AugmentedLoader, each_view_is_the_one_that_augment_gives_for_its_position) {
  const Augment augment({.crop = Crop::padded, .padding = 2, .flip = true, .seed = 7}, {6, 6}, {6, 6});
  const auto loader =
      make_loader(*set_, loader_options({{"crop", "padded"}, {"crop_padding", "2"}, {"flip", "true"}}),
                  {.seed = 7, .microbatch = 6, .shard = shard_of(0, 1, 2)});
  for (int i = 0; i < 8; ++i) {
    const auto& batch = loader->next();
    for (std::size_t row = 0; row < 6; ++row) {
      const auto plane = plane_of({6, 6}, static_cast<float>(batch.indices[row] * 36 + 1));
      std::vector<float> expected(36);
      const View view = augment.view(static_cast<std::uint64_t>(batch.first_position) + row);
      augment.apply(view, plane.data(), {{1.0F}, {0.0F}}, expected.data());
      const auto* input = static_cast<const float*>(batch.input) + row * 36;
      EXPECT_EQ(std::vector<float>(input, input + 36), expected);
    }
  }
}

TEST_F(AugmentedLoader, evaluation_shows_the_images_as_they_are) {
  const auto loader = make_loader(*set_, loader_options({{"crop", "padded"}, {"flip", "true"}}),
                                  {.microbatch = 24, .train = false});
  const auto* input = static_cast<const float*>(loader->next().input);
  for (int i = 0; i < 24 * 36; ++i) ASSERT_EQ(input[i], static_cast<float>(i + 1));
}

}  // namespace
}  // namespace lockstep::data
