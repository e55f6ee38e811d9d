// Resizing planes of floats: bilinear, with the filter widened when shrinking so that nothing is skipped
// (what Pillow and torchvision call antialiased bilinear), and means over squares.
#pragma once

#include <cstdint>
#include <vector>

namespace lockstep::data {

struct PlaneSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  friend bool operator==(const PlaneSize&, const PlaneSize&) = default;
};

/// A rectangle of a plane.
struct Box {
  double top = 0;
  double left = 0;
  double height = 0;
  double width = 0;
};

/// Weights of one size to another, reused for many planes of that size.
class Resampler {
 public:
  Resampler(PlaneSize from, PlaneSize to);
  /// The part `box` of planes of size `from` becomes a whole plane of size `to`.
  Resampler(PlaneSize from, const Box& box, PlaneSize to);
  void apply(const float* from, float* into) const;

 private:
  /// Output element i is the weighted sum of inputs [first[i], first[i] + weights[i].size()).
  struct Axis {
    std::vector<std::int64_t> first;
    std::vector<std::vector<float>> weights;
  };
  static Axis plan(std::int64_t inputs, double start, double length, std::int64_t outputs);
  PlaneSize from_, to_;
  Axis rows_, columns_;
};

/// Means over squares of side `factor`, which divides both sides.
void average_squares(const float* from, std::int64_t height, std::int64_t width, std::int64_t factor,
                     float* into);
/// Every element becomes a square of side `factor`.
void repeat_squares(const float* from, PlaneSize size, std::int64_t factor, float* into);

}  // namespace lockstep::data
