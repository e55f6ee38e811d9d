// Synthetic extreme weather: small multi-channel fields, each calm or with one event, to train on when
// nothing was downloaded. See weather.cpp for what the events look like.
#pragma once

#include <cstdint>
#include <vector>

namespace lockstep::data {

/// Classes, in label order: calm, cyclone, front, river (atmospheric river).
inline constexpr int kWeatherClasses = 4;
inline constexpr int kWeatherChannels = 4;  ///< temperature, moisture, wind_east, wind_north

/// The field of sample `index`: [kWeatherChannels, side, side], in standard units, rounded to 1/64. A
/// function of (seed, index) alone, with the same bits on every machine: only additions, multiplications,
/// divisions and square roots are used, which IEEE 754 fixes.
struct WeatherSample {
  std::vector<float> field;
  std::int32_t label = 0;
};
[[nodiscard]] WeatherSample weather_sample(std::uint64_t seed, std::int64_t index, std::int64_t side);

}  // namespace lockstep::data
