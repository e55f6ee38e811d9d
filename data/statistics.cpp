#include "data/statistics.h"

#include <algorithm>
#include <cmath>

#include "data/assemble.h"

namespace lockstep::data {

ChannelStatistics::ChannelStatistics(const TensorSpec& tensor) : tensor_(tensor) {
  const auto channels = static_cast<std::size_t>(tensor.shape.rank() == 3 ? tensor.shape[0] : 1);
  plane_ = static_cast<std::size_t>(tensor.shape.count()) / std::max<std::size_t>(1, channels);
  shifts_.assign(channels, 0);
  sums_.assign(channels, 0);
  squares_.assign(channels, 0);
}

bool ChannelStatistics::add(const std::byte* samples, std::int64_t count) {
  const double unit = tensor_.dtype == Dtype::u8 ? 255 : 1;
  const std::size_t channels = sums_.size();
  for (std::size_t row = 0; row < static_cast<std::size_t>(count); ++row) {
    for (std::size_t channel = 0; channel < channels; ++channel) {
      double sum = 0;
      double squares = 0;
      const std::size_t first = (row * channels + channel) * plane_;
      if (count_ == 0 && plane_ > 0)
        shifts_[channel] = element_as<double>(samples, tensor_.dtype, first) / unit;
      for (std::size_t i = first; i < first + plane_; ++i) {
        const double value = element_as<double>(samples, tensor_.dtype, i) / unit - shifts_[channel];
        sum += value;
        squares += value * value;
      }
      if (!std::isfinite(squares)) return false;
      sums_[channel] += sum;
      squares_[channel] += squares;
    }
    count_ += static_cast<double>(plane_);
  }
  return true;
}

std::vector<double> ChannelStatistics::mean() const {
  std::vector<double> means;
  for (std::size_t channel = 0; channel < sums_.size(); ++channel)
    means.push_back(count_ > 0 ? shifts_[channel] + sums_[channel] / count_ : 0);
  return means;
}

std::vector<double> ChannelStatistics::deviation() const {
  std::vector<double> deviations;
  for (std::size_t channel = 0; channel < sums_.size(); ++channel) {
    const double rest = count_ > 0 ? sums_[channel] / count_ : 0;  // the mean beyond the shift
    const double variance = count_ > 0 ? squares_[channel] / count_ - rest * rest : 0;
    deviations.push_back(variance > 0 ? std::sqrt(variance) : 1);
  }
  return deviations;
}

}  // namespace lockstep::data
