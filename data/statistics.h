// Mean and deviation per channel, as importers store them for normalisation. 8-bit values count in units of
// [0, 1].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace lockstep::data {

class ChannelStatistics {
 public:
  /// For samples of this shape: the first of three axes counts channels, else there is one.
  explicit ChannelStatistics(const TensorSpec& tensor);
  /// Adds `count` samples. Returns false, having added nothing more, at the first that is not finite.
  [[nodiscard]] bool add(const std::byte* samples, std::int64_t count);
  [[nodiscard]] std::vector<double> mean() const;
  [[nodiscard]] std::vector<double> deviation() const;

 private:
  TensorSpec tensor_;
  std::size_t plane_;
  std::vector<double> shifts_;          ///< the first value: a mean far from zero costs the squares no digits
  std::vector<double> sums_, squares_;  ///< of what values are beyond the shift
  double count_ = 0;
};

}  // namespace lockstep::data
