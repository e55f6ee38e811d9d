// Metrics on cases small enough to count by hand, and the law that sums over any split of the samples give
// the same result.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/random.h"
#include "trainer/metric/metric.h"

namespace lockstep::trainer {
namespace {

using Results = std::vector<std::pair<std::string, double>>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

std::unique_ptr<Metric> make(const std::string& name, const Pairs& settings = {}) {
  const auto& row = metrics().row(name);
  return row.make(Options::of(row.settings, settings));
}

double value(const Results& results, const std::string& name) {
  for (const auto& [each, number] : results)
    if (each == name) return number;
  ADD_FAILURE() << "no result called " << name;
  return NAN;
}

/// A microbatch with its memory.
struct Batch {
  Shape prediction_shape, target_shape;
  std::vector<float> prediction, losses, field;
  std::vector<std::int32_t> labels;
  std::int64_t rows;
  std::int64_t ignore_index = -100;

  [[nodiscard]] Evaluated view() const {
    const bool labelled = field.empty();
    return {.prediction = prediction,
            .losses = losses,
            .target = labelled ? static_cast<const void*>(labels.data()) : field.data(),
            .prediction_shape = prediction_shape,
            .target_shape = target_shape,
            .rows = rows,
            .labels = labelled,
            .ignore_index = ignore_index};
  }
};

Results finish(const Metric& metric) { return metric.finish(metric.sums()); }

Batch classes(std::vector<float> scores, std::int64_t classes, std::vector<std::int32_t> labels,
              std::int64_t rows) {
  const auto count = static_cast<std::int64_t>(labels.size());
  return {{count, classes},  {count}, std::move(scores), std::vector<float>(labels.size(), 0.5f), {},
          std::move(labels), rows};
}

TEST(Accuracy, counts_the_largest_score) {
  const auto metric = make("accuracy");
  metric->add(classes({1, 2, 0, /**/ 5, 1, 1, /**/ 0, 0, 3, /**/ 2, 9, 1}, 3, {1, 0, 2, 0}, 4).view());
  const Results results = finish(*metric);
  EXPECT_EQ(results[0].first, "accuracy");
  EXPECT_DOUBLE_EQ(results[0].second, 0.75);
  EXPECT_EQ(value(results, "correct"), 3);
  EXPECT_EQ(value(results, "samples"), 4);
  EXPECT_DOUBLE_EQ(value(results, "loss"), 0.5);
  EXPECT_TRUE(metric->larger_is_better());
}

TEST(Accuracy, top5_takes_the_five_largest) {
  const auto metric = make("accuracy");
  const std::vector<float> scores{6, 5, 4, 3, 2, 1};
  for (std::int32_t label : {0, 4, 5}) metric->add(classes(scores, 6, {label}, 1).view());
  EXPECT_DOUBLE_EQ(value(finish(*metric), "accuracy"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(value(finish(*metric), "top5"), 2.0 / 3);
}

TEST(Accuracy, tie_counts_for_the_lower_class) {
  const auto first = make("accuracy"), second = make("accuracy");
  first->add(classes({2, 2, 1}, 3, {0}, 1).view());
  second->add(classes({2, 2, 1}, 3, {1}, 1).view());
  EXPECT_EQ(value(finish(*first), "correct"), 1);
  EXPECT_EQ(value(finish(*second), "correct"), 0);
}

TEST(Accuracy, nan_score_of_the_label_is_wrong) {
  const auto metric = make("accuracy");
  metric->add(classes({NAN, NAN, NAN}, 3, {0}, 1).view());
  EXPECT_EQ(value(finish(*metric), "correct"), 0);
}

TEST(Accuracy, padded_rows_count_nowhere) {
  const auto metric = make("accuracy");
  metric->add(classes({1, 0, /**/ 1, 0, /**/ 1, 0}, 2, {0, 1, 0}, 1).view());
  EXPECT_EQ(value(finish(*metric), "samples"), 1);
  EXPECT_EQ(value(finish(*metric), "accuracy"), 1);
}

Batch tokens(std::vector<float> losses, std::vector<std::int32_t> labels, std::int64_t samples,
             std::int64_t rows) {
  const auto length = static_cast<std::int64_t>(labels.size()) / samples;
  return {{samples, length, 7}, {samples, length}, {}, std::move(losses), {}, std::move(labels), rows};
}

TEST(Accuracy, ignored_labels_count_neither_as_right_nor_as_wrong) {
  for (const std::int64_t ignored : {-100, 255}) {
    const auto metric = make("accuracy");
    Batch batch = classes({1, 0, 0, 1, 0, 1}, 2, {0, static_cast<std::int32_t>(ignored), 0}, 3);
    batch.ignore_index = ignored;
    metric->add(batch.view());
    EXPECT_DOUBLE_EQ(value(finish(*metric), "accuracy"), 0.5);
    EXPECT_DOUBLE_EQ(value(finish(*metric), "samples"), 2);
    EXPECT_DOUBLE_EQ(value(finish(*metric), "correct"), 1);
  }
}

TEST(Perplexity, is_the_exponential_of_the_mean_loss) {
  const auto metric = make("perplexity");
  metric->add(tokens({1, 2, 3, 6}, {0, 1, 2, 3}, 2, 2).view());
  const Results results = finish(*metric);
  EXPECT_EQ(results[0].first, "loss");
  EXPECT_DOUBLE_EQ(results[0].second, 3);
  EXPECT_DOUBLE_EQ(value(results, "perplexity"), std::exp(3.0));
  EXPECT_EQ(value(results, "tokens"), 4);
  EXPECT_FALSE(metric->larger_is_better());
  EXPECT_FALSE(metric->wants_prediction());
}

TEST(Perplexity, ignored_tokens_and_padded_samples_do_not_count) {
  const auto metric = make("perplexity");
  metric->add(tokens({1, 9, 3, 9}, {0, -100, 2, -100}, 2, 2).view());
  metric->add(tokens({2, 2, 9, 9}, {0, 0, 0, 0}, 2, 1).view());
  EXPECT_EQ(value(finish(*metric), "tokens"), 4);
  EXPECT_DOUBLE_EQ(value(finish(*metric), "loss"), 2);
}

Batch fields(std::vector<float> prediction, std::vector<float> target, const Shape& shape,
             std::int64_t rows) {
  return {shape,
          shape,
          std::move(prediction),
          std::vector<float>(static_cast<std::size_t>(shape[0]), 1.0f),
          std::move(target),
          {},
          rows};
}

TEST(Rmse, is_the_root_of_the_mean_square) {
  const auto metric = make("rmse");
  metric->add(fields({1, 2, 3, 4}, {1, 0, 3, 0}, {1, 1, 2, 2}, 1).view());
  EXPECT_DOUBLE_EQ(value(finish(*metric), "rmse"), std::sqrt(5.0));
  EXPECT_FALSE(metric->larger_is_better());
}

TEST(Rmse, unit_multiplies) {
  const auto metric = make("rmse", {{"unit", "20"}});
  metric->add(fields({3}, {0}, {1, 1, 1, 1}, 1).view());
  EXPECT_DOUBLE_EQ(value(finish(*metric), "rmse"), 60);
}

TEST(Rmse, by_area_weighs_rows_by_the_cosine_of_their_latitude) {
  const auto metric = make("rmse", {{"by_area", "true"}});
  // Four rows of one cell: latitudes 67.5, 22.5, -22.5, -67.5; errors 1, 2, 3, 4.
  metric->add(fields({1, 2, 3, 4}, {0, 0, 0, 0}, {1, 1, 4, 1}, 1).view());
  const double outer = std::cos(67.5 * std::numbers::pi / 180),
               inner = std::cos(22.5 * std::numbers::pi / 180);
  const double mean = (outer * (1 + 16) + inner * (4 + 9)) / (2 * outer + 2 * inner);
  EXPECT_NEAR(value(finish(*metric), "rmse"), std::sqrt(mean), 1e-12);
}

/// Two classes over pixels: scores [2, H, W] per sample.
Batch pixels(const std::vector<int>& predicted, std::vector<std::int32_t> labels) {
  const auto count = static_cast<std::int64_t>(labels.size());
  std::vector<float> scores;
  for (int c = 0; c < 2; ++c)
    for (int each : predicted) scores.push_back(each == c ? 1.0f : 0.0f);
  return {{1, 2, 1, count},
          {1, 1, count},
          std::move(scores),
          std::vector<float>(labels.size(), 1.0f),
          {},
          std::move(labels),
          1};
}

TEST(Iou, is_the_mean_over_classes_of_intersection_over_union) {
  const auto metric = make("iou");
  metric->add(pixels({0, 0, 1, 1, 1}, {0, 1, 1, 1, 0}).view());
  // class 0: both 1, either 3; class 1: both 2, either 4.
  EXPECT_DOUBLE_EQ(value(finish(*metric), "iou"), (1.0 / 3 + 2.0 / 4) / 2);
  EXPECT_DOUBLE_EQ(value(finish(*metric), "pixel_accuracy"), 3.0 / 5);
}

TEST(Iou, class_that_never_occurs_does_not_count) {
  const auto metric = make("iou");
  metric->add(pixels({0, 0}, {0, 0}).view());
  EXPECT_DOUBLE_EQ(value(finish(*metric), "iou"), 1);
}

TEST(Iou, ignored_pixels_do_not_count) {
  const auto metric = make("iou");
  metric->add(pixels({0, 1, 1}, {0, 1, -100}).view());
  EXPECT_DOUBLE_EQ(value(finish(*metric), "iou"), 1);
}

/// Sums over "ranks" that saw different batches equal those of one that saw all: for every metric.
TEST(Metrics, sums_add_over_any_split) {
  const RandomSource random(4, "metric", 0);
  const auto label = [&](std::uint64_t i) { return static_cast<std::int32_t>(random.below(i, 2)); };
  for (const char* name : {"accuracy", "perplexity", "rmse", "iou"}) {
    const auto whole = make(name), left = make(name), right = make(name);
    for (std::uint64_t b = 0; b < 9; ++b) {
      Batch batch = std::string(name) == "rmse"
                        ? fields({random.normal(b), 1}, {0, random.normal(90 + b)}, {1, 1, 1, 2}, 1)
                    : std::string(name) == "iou"
                        ? pixels({label(b), label(b + 20)}, {label(b + 40), label(b + 60)})
                        : classes({random.normal(b), random.normal(b + 50)}, 2, {label(b)}, 1);
      whole->add(batch.view());
      (b < 4 ? left : right)->add(batch.view());
    }
    std::vector<double> sums = left->sums();
    const std::vector<double> others = right->sums();
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += others[i];
    const Results expected = finish(*whole), actual = whole->finish(sums);
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(actual[i].second, expected[i].second, 1e-12) << name << " " << expected[i].first;
  }
}

TEST(Metrics, automatic_choice_follows_the_data) {
  EXPECT_EQ(automatic_metric({10, Shape{}, false}), "accuracy");
  EXPECT_EQ(automatic_metric({65, Shape{64}, true}), "perplexity");
  EXPECT_EQ(automatic_metric({3, Shape{32, 32}, false}), "iou");
  EXPECT_EQ(automatic_metric({0, Shape{1, 8, 8}, false}), "rmse");
}

}  // namespace
}  // namespace lockstep::trainer
