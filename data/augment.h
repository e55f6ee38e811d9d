// Random crops and mirror images, keyed by the global sample number: a sample gets the same view whatever
// rank, thread or order reads it.
#pragma once

#include <cstdint>
#include <vector>

#include "data/assemble.h"
#include "data/resample.h"

namespace lockstep::data {

enum class Crop : std::uint8_t { none, padded, resized };

struct AugmentOptions {
  Crop crop = Crop::none;
  std::int64_t padding = 4;  ///< zeros on each side before a padded crop
  double least_area = 0.08, most_area = 1;
  double least_ratio = 0.75, most_ratio = 1.3333333;  ///< width to height
  bool flip = false;
  bool random = true;  ///< false (evaluation): centre crop, never mirrored
  std::uint64_t seed = 0;
};

/// What is seen of an image: a box of it (which may reach into the padding), resized when its size is not the
/// output's, maybe mirrored.
struct View {
  Box box;
  bool mirror = false;
};

class Augment {
 public:
  /// Throws Fault::config when an output larger than the (padded) image is asked for.
  Augment(const AugmentOptions& options, PlaneSize stored, PlaneSize output);

  /// The view of the sample with this global number.
  [[nodiscard]] View view(std::uint64_t sample_number) const;
  /// Writes the view of `channels` planes, normalised; outside the image is the stored value 0.
  void apply(const View& view, const float* planes, const Normalisation& normalisation, float* into) const;

 private:
  [[nodiscard]] Box centre() const;
  [[nodiscard]] Box random_part(std::uint64_t sample_number) const;
  void copy(const View& view, const float* plane, float* into) const;
  AugmentOptions options_;
  PlaneSize stored_, output_;
};

}  // namespace lockstep::data
