// The weather generator as a data source: independence of seed, order and chunking, the statistics that it
// states, and the marks that each class leaves in the fields.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "data/bytes_file.h"
#include "data/weather.h"
#include "imports.h"

namespace lockstep::data {
namespace {

Written generate(const Given& given) {
  const auto& tool = tool_named(generators(), "generator", "weather");
  return tool.run(Options::of(tool.settings, with({{"train", "24"}, {"test", "9"}, {"side", "12"}}, given)));
}

/// Standard deviation of a channel over one field.
double spread(const WeatherSample& sample, std::size_t channel) {
  const std::size_t plane = sample.field.size() / kWeatherChannels;
  double sum = 0, squares = 0;
  for (std::size_t i = channel * plane; i < (channel + 1) * plane; ++i) {
    sum += static_cast<double>(sample.field[i]) / static_cast<double>(plane);
    squares += static_cast<double>(sample.field[i]) * static_cast<double>(sample.field[i]) /
               static_cast<double>(plane);
  }
  return std::sqrt(squares - sum * sum);
}

TEST(WeatherSamples, are_functions_of_seed_and_index_alone) {
  std::vector<WeatherSample> forward;
  for (std::int64_t i = 0; i < 20; ++i) forward.push_back(weather_sample(3, i, 16));
  for (std::int64_t i = 19; i >= 0; --i) {
    const auto again = weather_sample(3, i, 16);
    EXPECT_EQ(again.field, forward[static_cast<std::size_t>(i)].field);
    EXPECT_EQ(again.label, forward[static_cast<std::size_t>(i)].label);
  }
}

TEST(WeatherSamples, no_two_are_alike_over_seeds_and_indices) {
  std::set<std::vector<float>> seen;
  for (const std::uint64_t seed : {0ULL, 1ULL, 2ULL, 1ULL << 40}) {
    for (const std::int64_t index : {0LL, 1LL, 2LL, 1LL << 33})
      seen.insert(weather_sample(seed, index, 8).field);
  }
  EXPECT_EQ(seen.size(), 16U);
}

TEST(WeatherSamples, values_are_sixty_fourths_and_of_standard_size) {
  for (std::int64_t index = 0; index < 40; ++index) {
    const auto sample = weather_sample(5, index, 32);
    ASSERT_EQ(sample.field.size(), 4096U);
    for (const float value : sample.field) {
      ASSERT_EQ(value * 64, std::round(value * 64));
      ASSERT_LT(std::abs(value), 25.0F);
    }
    EXPECT_GE(sample.label, 0);
    EXPECT_LT(sample.label, kWeatherClasses);
  }
}

TEST(WeatherSamples, any_run_of_samples_is_balanced_over_the_classes) {
  for (const std::int64_t first : {0, 1, 3, 1000}) {
    std::array<int, 4> count{};
    for (std::int64_t i = first; i < first + 40; ++i) {
      ++count.at(static_cast<std::size_t>(weather_sample(1, i, 8).label));
    }
    EXPECT_EQ(count, (std::array{10, 10, 10, 10})) << first;
  }
}

TEST(WeatherSamples, each_event_raises_the_spread_of_the_channels_it_acts_on) {
  // Means over 60 samples a class: temperature, moisture, wind_east, wind_north.
  std::array<std::array<double, 4>, 4> spreads{};
  for (std::int64_t i = 0; i < 240; ++i) {
    const auto sample = weather_sample(2, i, 32);
    for (std::size_t channel = 0; channel < 4; ++channel) {
      spreads.at(static_cast<std::size_t>(sample.label)).at(channel) += spread(sample, channel) / 60;
    }
  }
  const auto& [calm, cyclone, front, river] = spreads;
  EXPECT_GT(cyclone[2], 1.1 * calm[2]) << "a vortex moves the wind";
  EXPECT_GT(cyclone[3], 1.1 * calm[3]);
  EXPECT_GT(front[0], 1.3 * calm[0]) << "a front is a step of temperature";
  EXPECT_GT(river[1], 1.2 * calm[1]) << "a river is a band of moisture";
  EXPECT_NEAR(river[0], calm[0], 0.2 * calm[0]) << "and leaves temperature alone";
}

TEST(WeatherSet, chunking_and_files_change_storage_not_samples) {
  const TemporaryFolder folder;
  (void)generate({{"output", folder.file("plain.h5")}});
  const auto plain = open_hdf5({folder.file("plain.h5")}, "train");
  const auto fields = stored<float>(*plain, "image");
  const auto labels = stored<std::int32_t>(*plain, "label");
  for (const Given& how :
       {Given{{"chunk_samples", "5"}}, Given{{"compression", "0"}}, Given{{"samples_per_file", "7"}}}) {
    const auto written = generate(with({{"output", folder.file("other.h5")}}, how));
    EXPECT_EQ(written.splits, (Splits{{"train", 24}, {"test", 9}}));
    std::vector<std::string> files;
    for (const auto& file : written.files) {
      if (Hdf5File::open(file).has_group("/train")) files.push_back(file);
    }
    const auto other = open_hdf5(files, "train");
    EXPECT_EQ(stored<float>(*other, "image"), fields) << how[0].first;
    EXPECT_EQ(stored<std::int32_t>(*other, "label"), labels) << how[0].first;
    EXPECT_EQ(other->fact("mean"), plain->fact("mean"));
  }
}

TEST(WeatherSet, test_samples_follow_the_training_ones) {
  const TemporaryFolder folder;
  (void)generate({{"output", folder.file("a.h5")}, {"seed", "6"}});
  const auto test = open_hdf5({folder.file("a.h5")}, "test");
  const auto fields = stored<float>(*test, "image");
  for (std::int64_t i = 0; i < 9; ++i) {
    const auto sample = weather_sample(6, 24 + i, 12);
    EXPECT_TRUE(std::equal(sample.field.begin(), sample.field.end(), fields.begin() + i * 576)) << i;
  }
}

TEST(WeatherSet, stated_mean_and_deviation_are_those_of_the_training_fields) {
  const TemporaryFolder folder;
  (void)generate({{"output", folder.file("a.h5")}});
  const auto set = open_hdf5({folder.file("a.h5")}, "train");
  const auto fields = stored<float>(*set, "image");
  std::array<double, 4> mean{}, square{}, stated_mean{}, stated_deviation{};
  for (std::size_t i = 0; i < fields.size(); ++i) {
    mean.at(i / 144 % 4) += static_cast<double>(fields[i]) / (24 * 144);
    square.at(i / 144 % 4) += static_cast<double>(fields[i]) * static_cast<double>(fields[i]) / (24 * 144);
  }
  const auto read = [](const std::string& text, std::array<double, 4>& into) {
    return std::sscanf(text.c_str(), "%lf, %lf, %lf, %lf", &into[0], &into[1], &into[2], &into[3]);
  };
  ASSERT_EQ(read(set->fact("mean"), stated_mean), 4);
  ASSERT_EQ(read(set->fact("deviation"), stated_deviation), 4);
  for (std::size_t channel = 0; channel < 4; ++channel) {
    EXPECT_NEAR(stated_mean.at(channel), mean.at(channel), 1e-9);
    EXPECT_NEAR(stated_deviation.at(channel),
                std::sqrt(square.at(channel) - mean.at(channel) * mean.at(channel)), 1e-9);
  }
}

TEST(WeatherSet, seeds_give_other_files_and_impossible_settings_are_refused) {
  const TemporaryFolder folder;
  (void)generate({{"output", folder.file("a.h5")}, {"seed", "1"}});
  (void)generate({{"output", folder.file("b.h5")}, {"seed", "2"}});
  EXPECT_NE(read_bytes(folder.file("a.h5")), read_bytes(folder.file("b.h5")));
  for (const Given& bad :
       {Given{{"side", "7"}}, Given{{"train", "0"}}, Given{{"seed", "-1"}}, Given{{"sides", "9"}}}) {
    const auto error = error_of([&] { (void)generate(with({{"output", folder.file("c.h5")}}, bad)); });
    EXPECT_EQ(error.fault(), Fault::config) << bad[0].first;
    EXPECT_TRUE(mentions(error, bad[0].first)) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("c.h5")));
}

}  // namespace
}  // namespace lockstep::data
