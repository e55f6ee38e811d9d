// The largest magnitudes of each run, exactly: a histogram of the upper 11 magnitude bits finds the bin of
// the last one to keep, a partial sort of that bin its value, and a second pass collects. Two reads of the
// values; magnitudes compare as integers, so NaN would be the largest.
#include <array>

#include "comm/compress/cpu/cpu_kernels.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr int kShift = 20;  // 31 bits of magnitude: 11 bits of bin
constexpr int kBins = 1 << 11;
constexpr int kTables = 4;  // neighbours fall into different tables: increments do not wait for each other
constexpr std::int64_t kStride = 64;

using Histogram = std::array<std::uint32_t, kBins>;

Histogram histogram(const float* x, std::int64_t count) {
  std::array<Histogram, kTables> tables{};
  std::int64_t i = 0;
  for (; i + kTables <= count; i += kTables) {
    for (std::size_t t = 0; t < kTables; ++t)
      ++tables[t][magnitude_bits(x[i + static_cast<std::int64_t>(t)]) >> kShift];
  }
  for (; i < count; ++i) ++tables[0][magnitude_bits(x[i]) >> kShift];
  for (std::size_t bin = 0; bin < kBins; ++bin)
    tables[0][bin] += tables[1][bin] + tables[2][bin] + tables[3][bin];
  return tables[0];
}

/// Is any of the kStride values at least `least`?
LOCKSTEP_HOT_LOOP bool any_at_least(const float* x, std::uint32_t least) {
  std::uint32_t found = 0;
  for (std::int64_t i = 0; i < kStride; ++i)
    found |= static_cast<std::uint32_t>(magnitude_bits(x[i]) >= least);
  return found != 0;
}

/// Calls visit(i) for the values of magnitude at least `least`, in order.
template <class Visit>
void visit_large(const float* x, std::int64_t count, std::uint32_t least, Visit&& visit) {
  for (std::int64_t first = 0; first < count; first += kStride) {
    const std::int64_t end = std::min(count, first + kStride);
    if (end - first == kStride && !any_at_least(x + first, least)) continue;
    for (std::int64_t i = first; i < end; ++i) {
      if (magnitude_bits(x[i]) >= least) visit(i);
    }
  }
}

/// The magnitude of the last value to keep, and how many of exactly that magnitude are kept.
struct Threshold {
  std::uint32_t bits = 0;
  std::int64_t equal = 0;
};

Threshold threshold_of(const float* x, std::int64_t count, std::int64_t keep) {
  const Histogram bins = histogram(x, count);
  std::int64_t above = 0;
  std::uint32_t bin = kBins - 1;
  while (above + bins[bin] < keep) above += bins[bin--];
  std::vector<std::uint32_t> candidates;
  candidates.reserve(bins[bin]);
  visit_large(x, count, bin << kShift, [&](std::int64_t i) {
    if (const std::uint32_t bits = magnitude_bits(x[i]); bits >> kShift == bin) candidates.push_back(bits);
  });
  const auto last = candidates.begin() + (keep - above - 1);
  std::nth_element(candidates.begin(), last, candidates.end(), std::greater<>());
  const std::uint32_t bits = *last;
  const auto larger =
      std::count_if(candidates.begin(), candidates.end(), [&](auto each) { return each > bits; });
  return {bits, keep - above - larger};
}

}  // namespace

void cpu_select(FlatSpan values, Runs runs, FlatSpan indices, Stream& stream) {
  stream.host([values, runs = std::move(runs), indices] {
    std::int32_t* out = indices.as<std::int32_t>().data();
    for (const Selection& run : runs->list) {
      const float* x = values.as<float>().data() + run.first;
      Threshold threshold = threshold_of(x, run.count, run.keep);
      visit_large(x, run.count, threshold.bits, [&](std::int64_t i) {
        if (magnitude_bits(x[i]) == threshold.bits && --threshold.equal < 0) return;
        *out++ = static_cast<std::int32_t>(run.first + i);
      });
    }
  });
}

}  // namespace lockstep::comm
