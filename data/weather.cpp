#include "data/weather.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/random.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

// Coordinates run from -1 to 1 across the field. Whatever the class, the background has random offsets,
// gradients, broad blobs of moisture and noise at three scales, so that sums over the field say little.
enum Channel : std::size_t { kTemperature, kMoisture, kWindEast, kWindNorth };
constexpr double kRounding = 64;  ///< fields are multiples of 1/64: they compress well, and little is lost

struct Vector {
  double x = 0;
  double y = 0;
};

double square(double value) { return value * value; }
/// Smooth bump: 1 at 0, falling like 1 / x^4.
double bump(double x) { return 1 / square(1 + x * x); }
/// Smooth step from -1 to 1.
double step(double x) { return x / std::sqrt(1 + x * x); }

/// Random numbers of one sample, drawn one after the other.
class Draws {
 public:
  Draws(std::uint64_t seed, std::int64_t index)
      : random_(seed, "weather", static_cast<std::uint64_t>(index)) {}
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(random_.uniform(next_++));
  }
  double sign() { return between(0, 1) < 0.5 ? -1 : 1; }
  /// A unit vector; the rational parametrisation of the circle needs no sine.
  Vector direction() {
    const double t = between(-1, 1);
    const double flip = sign();
    return {(1 - t * t) / (1 + t * t) * flip, 2 * t / (1 + t * t) * flip};
  }
  Vector point(double reach) {
    const double x = between(-reach, reach);
    return {x, between(-reach, reach)};
  }

 private:
  RandomSource random_;
  std::uint64_t next_ = 0;
};

class Field {
 public:
  explicit Field(std::int64_t side)
      : side_(side), values_(static_cast<std::size_t>(kWeatherChannels * side * side), 0) {}

  /// Adds f(position) to a channel.
  template <class Function>
  void add(Channel channel, const Function& f) {
    double* value = values_.data() + static_cast<std::int64_t>(channel) * side_ * side_;
    for (std::int64_t row = 0; row < side_; ++row) {
      for (std::int64_t col = 0; col < side_; ++col) *value++ += f(Vector{coordinate(col), coordinate(row)});
    }
  }

  [[nodiscard]] std::vector<float> rounded() const {
    std::vector<float> out;
    out.reserve(values_.size());
    for (const double value : values_) {
      out.push_back(static_cast<float>(std::floor(value * kRounding + 0.5) / kRounding));
    }
    return out;
  }

 private:
  [[nodiscard]] double coordinate(std::int64_t i) const {
    return (2 * static_cast<double>(i) + 1) / static_cast<double>(side_) - 1;
  }
  std::int64_t side_;
  std::vector<double> values_;
};

/// Random values on a coarse lattice, smoothly interpolated.
void add_noise(Field& field, Channel channel, Draws& draws, int cells, double strength) {
  const auto points = static_cast<std::size_t>(cells) + 1;
  std::vector<double> lattice(points * points);
  for (double& value : lattice) value = draws.between(-strength, strength);
  field.add(channel, [&](Vector at) {
    const double x = (at.x + 1) / 2 * cells;
    const double y = (at.y + 1) / 2 * cells;
    const auto col = std::min(static_cast<std::size_t>(x), points - 2);
    const auto row = std::min(static_cast<std::size_t>(y), points - 2);
    const double u = x - static_cast<double>(col);
    const double v = y - static_cast<double>(row);
    const double s = u * u * (3 - 2 * u);
    const double t = v * v * (3 - 2 * v);
    const double* corner = lattice.data() + row * points + col;
    return (corner[0] * (1 - s) + corner[1] * s) * (1 - t) +
           (corner[points] * (1 - s) + corner[points + 1] * s) * t;
  });
}

void add_background(Field& field, Draws& draws) {
  for (const Channel channel : {kTemperature, kMoisture, kWindEast, kWindNorth}) {
    const double offset = draws.between(-1.5, 1.5);
    const Vector slope = draws.point(0.7);
    field.add(channel, [&](Vector at) { return offset + slope.x * at.x + slope.y * at.y; });
    for (const auto& [cells, strength] : {std::pair(3, 0.8), std::pair(7, 0.45), std::pair(31, 0.45)}) {
      add_noise(field, channel, draws, cells, strength);
    }
  }
  for (int blob = 0; blob < 2; ++blob) {
    const Vector centre = draws.point(1);
    const double radius = draws.between(0.35, 0.7);
    const double strength = draws.between(-1.2, 1.2);
    field.add(kMoisture, [&](Vector at) {
      return strength * bump(std::sqrt(square(at.x - centre.x) + square(at.y - centre.y)) / radius);
    });
  }
}

/// A vortex of either sense with a moist, warm core.
void add_cyclone(Field& field, Draws& draws) {
  const Vector centre = draws.point(0.65);
  const double radius = draws.between(0.14, 0.3);
  const double strength = draws.between(1.6, 3.6);
  const double spin = draws.sign() * strength;
  const auto distance = [&](Vector at) {
    return std::sqrt(square(at.x - centre.x) + square(at.y - centre.y)) / radius;
  };
  const auto swirl = [&](Vector at) { return 1.6 * spin / radius / (1 + square(distance(at))); };
  field.add(kWindEast, [&](Vector at) { return -(at.y - centre.y) * swirl(at) * bump(distance(at) / 4); });
  field.add(kWindNorth, [&](Vector at) { return (at.x - centre.x) * swirl(at) * bump(distance(at) / 4); });
  field.add(kMoisture, [&](Vector at) { return 0.6 * strength * bump(distance(at)); });
  field.add(kTemperature, [&](Vector at) { return 0.5 * strength * bump(distance(at) * 1.5); });
}

/// A curved line: its signed distance across and its coordinate along.
struct Curve {
  Vector point, along;
  double curvature;
  explicit Curve(Draws& draws)
      : point(draws.point(0.5)), along(draws.direction()), curvature(draws.between(-0.5, 0.5)) {}
  [[nodiscard]] double length(Vector at) const {
    return along.x * (at.x - point.x) + along.y * (at.y - point.y);
  }
  [[nodiscard]] double across(Vector at) const {
    return along.x * (at.y - point.y) - along.y * (at.x - point.x) + curvature * square(length(at));
  }
};

/// A sharp change of temperature and of the wind along the line, with a weak band of moisture.
void add_front(Field& field, Draws& draws) {
  const Curve line(draws);
  const double width = draws.between(0.04, 0.1);
  const double strength = draws.between(1.6, 3.2) * draws.sign();
  const double shear = draws.between(0.3, 0.8) * strength;
  field.add(kTemperature, [&](Vector at) { return strength * step(line.across(at) / width); });
  field.add(kWindEast, [&](Vector at) { return shear * line.along.x * step(line.across(at) / width); });
  field.add(kWindNorth, [&](Vector at) { return shear * line.along.y * step(line.across(at) / width); });
  field.add(kMoisture,
            [&](Vector at) { return 0.4 * std::abs(strength) * bump(line.across(at) / (2 * width)); });
}

/// A long narrow filament of moisture with wind along it.
void add_river(Field& field, Draws& draws) {
  const Curve line(draws);
  const double width = draws.between(0.1, 0.2);
  const double reach = draws.between(1.2, 2.4);
  const double strength = draws.between(1.6, 3.4);
  const double wind = draws.between(0.4, 1.0) * strength * draws.sign();
  const auto stream = [&](Vector at) {
    return bump(line.across(at) / width) * bump(line.length(at) / reach);
  };
  field.add(kMoisture, [&](Vector at) { return 1.3 * strength * stream(at); });
  field.add(kWindEast, [&](Vector at) { return wind * line.along.x * stream(at); });
  field.add(kWindNorth, [&](Vector at) { return wind * line.along.y * stream(at); });
}

using Event = void (*)(Field&, Draws&);
constexpr std::array<Event, kWeatherClasses> kEvents{nullptr, add_cyclone, add_front, add_river};
constexpr const char* kClassNames = "calm\ncyclone\nfront\nriver";
constexpr const char* kChannelNames = "temperature\nmoisture\nwind_east\nwind_north";

constexpr Setting kOwnSettings[] = {
    {"train", SettingType::integer, "4096", "training samples", "[1,inf)"},
    {"test", SettingType::integer, "1024", "test samples", "[1,inf)"},
    {"side", SettingType::integer, "32", "height and width of the fields", "[8,4096]"},
    {"seed", SettingType::integer, "1", "of all random numbers", "[0,inf)"},
};
constexpr auto kSettings = with_output(kOwnSettings);

/// Sums for mean and deviation per channel.
struct ChannelSums {
  std::array<double, kWeatherChannels> sum{}, squares{};
  double count = 0;
  void add(const std::vector<float>& field) {
    const std::size_t plane = field.size() / kWeatherChannels;
    for (std::size_t i = 0; i < field.size(); ++i) {
      sum[i / plane] += static_cast<double>(field[i]);
      squares[i / plane] += square(static_cast<double>(field[i]));
    }
    count += static_cast<double>(plane);
  }
  [[nodiscard]] std::vector<double> mean() const {
    std::vector<double> means;
    for (const double each : sum) means.push_back(each / count);
    return means;
  }
  [[nodiscard]] std::vector<double> deviation() const {
    std::vector<double> deviations;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      deviations.push_back(std::sqrt(std::max(0.0, squares[i] / count - square(sum[i] / count))));
    }
    return deviations;
  }
};

Written generate_weather(const Options& settings) {
  SetWriter writer(settings);
  const std::int64_t side = settings.integer("side");
  const auto seed = static_cast<std::uint64_t>(settings.integer("seed"));
  const std::vector<TensorSpec> tensors{{"image", Dtype::f32, Shape{kWeatherChannels, side, side}},
                                        {"label", Dtype::i32, Shape{}}};
  ChannelSums sums;
  std::int64_t index = 0;
  for (const char* split : {"train", "test"}) {
    writer.begin_split(split, tensors);
    for (const std::int64_t end = index + settings.integer(split); index < end; ++index) {
      const auto sample = weather_sample(seed, index, side);
      if (split == std::string("train")) sums.add(sample.field);
      const std::array<const std::byte*, 2> blocks{bytes_of(sample.field),
                                                   reinterpret_cast<const std::byte*>(&sample.label)};
      writer.append(1, blocks);
    }
  }
  writer.fact("classes", std::int64_t{kWeatherClasses});
  writer.fact("class_names", kClassNames);
  writer.fact("channel_names", kChannelNames);
  writer.fact("mean", sums.mean());
  writer.fact("deviation", sums.deviation());
  if (!settings.given("source")) writer.fact("source", "lockstep data generate weather");
  return writer.finish();
}

}  // namespace

WeatherSample weather_sample(std::uint64_t seed, std::int64_t index, std::int64_t side) {
  Draws draws(seed, index);
  Field field(side);
  add_background(field, draws);
  const auto label = static_cast<std::int32_t>(index % kWeatherClasses);
  if (const Event event = kEvents[static_cast<std::size_t>(label)]) event(field, draws);
  return {field.rounded(), label};
}

const DataTool kWeatherGenerator{
    "weather", "synthetic extreme weather: calm, cyclones, fronts and atmospheric rivers in four channels",
    kSettings, generate_weather};

}  // namespace lockstep::data
