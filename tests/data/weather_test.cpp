// The weather generator: the same bits everywhere, balanced classes, and a task that a linear classifier
// cannot solve but that is solvable.
#include "data/weather.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "core/hash.h"
#include "core/random.h"
#include "data/bytes_file.h"
#include "data/tools.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

using Features = std::vector<std::vector<float>>;

/// Softmax regression by plain gradient descent on standardised features; returns its accuracy on the test
/// set.
class LinearProbe {
 public:
  LinearProbe(const Features& train, const std::vector<int>& labels) : weights_(train[0].size() + 1) {
    const std::size_t features = train[0].size();
    mean_.assign(features, 0);
    scale_.assign(features, 0);
    for (const auto& row : train) {
      for (std::size_t i = 0; i < features; ++i) mean_[i] += row[i] / static_cast<float>(train.size());
    }
    for (const auto& row : train) {
      for (std::size_t i = 0; i < features; ++i) scale_[i] += (row[i] - mean_[i]) * (row[i] - mean_[i]);
    }
    for (float& each : scale_) each = std::sqrt(static_cast<float>(train.size()) / (each + 1e-6F));
    for (int epoch = 0; epoch < 12; ++epoch) {
      for (std::size_t i = 0; i < train.size(); ++i)
        step(train[i], labels[i], 0.3F / static_cast<float>(features));
    }
  }

  [[nodiscard]] double accuracy(const Features& test, const std::vector<int>& labels) const {
    int right = 0;
    for (std::size_t i = 0; i < test.size(); ++i) {
      const auto scores = logits(test[i]);
      right += std::ranges::max_element(scores) - scores.begin() == labels[i] ? 1 : 0;
    }
    return right / static_cast<double>(test.size());
  }

 private:
  [[nodiscard]] std::array<float, 4> logits(const std::vector<float>& row) const {
    std::array<float, 4> sums = weights_.back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      const float value = (row[i] - mean_[i]) * scale_[i];
      for (std::size_t k = 0; k < 4; ++k) sums[k] += weights_[i][k] * value;
    }
    return sums;
  }
  void step(const std::vector<float>& row, int label, float rate) {
    auto scores = logits(row);
    const float largest = *std::ranges::max_element(scores);
    float sum = 0;
    for (float& score : scores) sum += score = std::exp(score - largest);
    for (std::size_t k = 0; k < 4; ++k) {
      const float slope = scores[k] / sum - (static_cast<int>(k) == label ? 1.0F : 0.0F);
      for (std::size_t i = 0; i < row.size(); ++i) {
        weights_[i][k] -= rate * slope * (row[i] - mean_[i]) * scale_[i];
      }
      weights_.back()[k] -= rate * slope;
    }
  }
  std::vector<std::array<float, 4>> weights_;
  std::vector<float> mean_, scale_;
};

struct Set {
  Features fields;
  std::vector<int> labels;
};

Set make_set(std::int64_t first, std::int64_t count) {
  Set set;
  for (std::int64_t i = first; i < first + count; ++i) {
    auto sample = weather_sample(1, i, 32);
    set.fields.push_back(std::move(sample.field));
    set.labels.push_back(sample.label);
  }
  return set;
}

/// What a small network finds: the largest responses of a few local filters, wherever they are.
std::vector<float> local_features(const std::vector<float>& field) {
  const auto at = [&](int channel, int row, int col) {
    return field[static_cast<std::size_t>((channel * 32 + row) * 32 + col)];
  };
  const auto smooth = [&](int channel, int row, int col) {
    float sum = 0;
    for (int dr = -1; dr <= 1; ++dr) {
      for (int dc = -1; dc <= 1; ++dc) sum += at(channel, row + dr, col + dc);
    }
    return sum / 9;
  };
  std::vector<float> spin, slope, ridge;
  for (int row = 4; row < 28; ++row) {
    for (int col = 4; col < 28; ++col) {
      spin.push_back(std::abs(smooth(3, row, col + 3) - smooth(3, row, col - 3) - smooth(2, row + 3, col) +
                              smooth(2, row - 3, col)));
      slope.push_back(std::hypot(smooth(0, row, col + 2) - smooth(0, row, col - 2),
                                 smooth(0, row + 2, col) - smooth(0, row - 2, col)));
      ridge.push_back(2 * smooth(1, row, col) - std::min(smooth(1, row, col + 3) + smooth(1, row, col - 3),
                                                         smooth(1, row + 3, col) + smooth(1, row - 3, col)));
    }
  }
  std::vector<float> features;
  for (auto* map : {&spin, &slope, &ridge}) {
    std::ranges::sort(*map);
    for (const std::size_t back : {1U, 20U, 60U, 150U}) features.push_back((*map)[map->size() - back]);
    features.push_back(features.back() * features.back());
  }
  return features;
}

TEST(Weather, same_seed_gives_the_same_bits_on_every_machine) {
  std::uint64_t hash = 0;
  for (std::int64_t i = 0; i < 16; ++i)
    hash += hash_floats(weather_sample(1, i, 32).field, 4096 * static_cast<std::uint64_t>(i));
  EXPECT_EQ(hash_text(hash), "703f4f5fa567304a");
}

TEST(Weather, seeds_and_samples_differ) {
  EXPECT_NE(weather_sample(1, 0, 16).field, weather_sample(2, 0, 16).field);
  EXPECT_NE(weather_sample(1, 0, 16).field, weather_sample(1, 4, 16).field);
}

TEST(Weather, classes_are_balanced_and_their_mean_fields_overlap) {
  const auto set = make_set(0, 800);
  std::array<double, 4> mean{};
  double spread = 0;
  for (std::size_t i = 0; i < set.fields.size(); ++i) {
    double sum = 0;
    for (const float value : set.fields[i]) sum += static_cast<double>(value) / 4096;
    mean[static_cast<std::size_t>(set.labels[i])] += sum / 200;
    spread += sum * sum / 800;
  }
  for (const double each : mean) EXPECT_LT(std::abs(each), std::sqrt(spread));
  for (int label = 0; label < 4; ++label) EXPECT_EQ(std::ranges::count(set.labels, label), 200);
}

TEST(Weather, linear_classifier_does_much_worse_than_local_filters) {
  const auto train = make_set(0, 1200);
  const auto test = make_set(4096, 400);
  const double linear = LinearProbe(train.fields, train.labels).accuracy(test.fields, test.labels);
  Features local, local_test;
  for (const auto& field : train.fields) local.push_back(local_features(field));
  for (const auto& field : test.fields) local_test.push_back(local_features(field));
  const double filtered = LinearProbe(local, train.labels).accuracy(local_test, test.labels);
  EXPECT_LT(linear, 0.5);
  EXPECT_GT(filtered, 0.7);
  EXPECT_LT(filtered, 0.999);
}

TEST(WeatherGenerator, file_opens_as_a_data_set_with_its_facts) {
  const TemporaryFolder folder;
  const auto& tool = tool_named(generators(), "generator", "weather");
  const auto path = folder.file("weather.h5");
  const auto written = tool.run(
      Options::of(tool.settings, {{"output", path}, {"train", "64"}, {"test", "17"}, {"side", "16"}}));
  EXPECT_EQ(written.splits, (std::vector<std::pair<std::string, std::int64_t>>{{"train", 64}, {"test", 17}}));
  const auto test = open_hdf5({path}, "test");
  EXPECT_EQ(test->size(), 17);
  EXPECT_EQ(test->classes(), 4);
  EXPECT_EQ(test->fact("class_names"), "calm\ncyclone\nfront\nriver");
  const auto loader = make_loader(*test, loader_options(), {.microbatch = 4, .train = false});
  EXPECT_EQ(loader->spec().input, (Shape{4, 16, 16}));
  const auto first = weather_sample(1, 64, 16);
  EXPECT_EQ(*static_cast<const std::int32_t*>(loader->next().target), first.label);
}

TEST(WeatherGenerator, same_settings_give_the_same_file) {
  const TemporaryFolder folder;
  const auto& tool = tool_named(generators(), "generator", "weather");
  for (const char* name : {"a.h5", "b.h5"}) {
    (void)tool.run(Options::of(
        tool.settings, {{"output", folder.file(name)}, {"train", "9"}, {"test", "4"}, {"side", "16"}}));
  }
  EXPECT_EQ(read_bytes(folder.file("a.h5")), read_bytes(folder.file("b.h5")));
}

TEST(WeatherGenerator, unknown_tool_is_refused) {
  EXPECT_EQ(error_of([] { (void)tool_named(generators(), "generator", "wether"); }).fault(), Fault::config);
}

}  // namespace
}  // namespace lockstep::data
