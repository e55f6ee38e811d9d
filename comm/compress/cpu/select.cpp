// The largest magnitudes of each run, exactly: a histogram of the upper 11 magnitude bits finds the bin of
// the last one to keep, a partial sort of that bin its value, and a third pass marks what is larger and
// writes its indices. Magnitudes compare as integers, so NaN would be the largest.
#include <array>

#include "comm/compress/cpu/bits.h"
#include "comm/compress/cpu/cpu_kernels.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr int kShift = 20;  // 31 bits of magnitude: 11 bits of bin
constexpr int kBins = 1 << 11;
constexpr int kTables = 4;  // neighbours fall into different tables: increments do not wait for each other
constexpr std::int64_t kBlock = 1024;
constexpr std::int64_t kWords = kBlock / 32;

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

/// A bit for each value of a block.
using Marks = std::array<std::uint32_t, kWords>;

/// Marks the values of a block whose magnitude bits exceed `than`.
LOCKSTEP_HOT_LOOP void mark_larger(const float* x, std::int32_t than, Marks& marks) {
  for (std::int64_t w = 0; w < kWords; ++w) {
    std::uint32_t word = 0;
    for (int bit = 0; bit < 32; ++bit)
      word |= static_cast<std::int32_t>(magnitude_bits(x[32 * w + bit])) > than ? 1u << bit : 0u;
    marks[static_cast<std::size_t>(w)] = word;
  }
}

/// Of word `w` the bits of a block's first `count` values.
std::uint32_t first_bits(std::int64_t w, std::int64_t count) {
  const std::int64_t bits = std::clamp<std::int64_t>(count - 32 * w, 0, 32);
  return static_cast<std::uint32_t>((std::uint64_t{1} << bits) - 1);
}

/// Calls visit(first, block, count) for the blocks of x; behind the last one's `count` values lie zeros.
template <class Visit>
void visit_blocks(const float* x, std::int64_t count, Visit&& visit) {
  std::int64_t first = 0;
  for (; first + kBlock <= count; first += kBlock) visit(first, x + first, kBlock);
  if (first == count) return;
  std::array<float, kBlock> rest{};
  std::copy(x + first, x + count, rest.begin());
  visit(first, rest.data(), count - first);
}

/// The magnitudes in a bin, of which there are `bin_count`.
std::vector<std::uint32_t> magnitudes_in(const float* x, std::int64_t count, std::uint32_t bin,
                                         std::size_t bin_count) {
  const std::int32_t below = static_cast<std::int32_t>((std::int64_t{bin} << kShift) - 1);
  const std::int32_t top = static_cast<std::int32_t>((std::int64_t{bin + 1} << kShift) - 1);
  std::vector<std::uint32_t> found;
  found.reserve(bin_count);
  visit_blocks(x, count, [&](std::int64_t, const float* block, std::int64_t values) {
    Marks marks, larger;
    mark_larger(block, below, marks);
    mark_larger(block, top, larger);
    for (std::size_t w = 0; w < marks.size(); ++w)
      marks[w] &= ~larger[w] & first_bits(static_cast<std::int64_t>(w), values);
    std::array<std::int32_t, kBlock + 32> places;  // 32: room for what is written too much
    const std::int32_t* end =
        write_indices(marks.data(), kWords, 0, places.data(), places.data() + places.size());
    for (const std::int32_t* place = places.data(); place < end; ++place)
      found.push_back(magnitude_bits(block[*place]));
  });
  return found;
}

/// What is kept: magnitudes larger than `bits`, and those equal to it up to place `last`.
struct Threshold {
  std::int32_t bits = 0;
  std::int64_t last = 0;
};

/// The place of the value that is number `number`, counted from 1, of those with this magnitude.
std::int64_t place_of(const float* x, std::uint32_t bits, std::int64_t number) {
  std::int64_t place = -1;
  while (number > 0) number -= static_cast<std::int64_t>(magnitude_bits(x[++place]) == bits);
  return place;
}

Threshold threshold_of(const float* x, std::int64_t count, std::int64_t keep) {
  const Histogram bins = histogram(x, count);
  std::int64_t above = 0;
  std::uint32_t bin = kBins - 1;
  while (above + bins[bin] < keep) above += bins[bin--];
  std::vector<std::uint32_t> candidates = magnitudes_in(x, count, bin, bins[bin]);
  const auto last = candidates.begin() + (keep - above - 1);
  std::nth_element(candidates.begin(), last, candidates.end(), std::greater<>());
  const std::uint32_t bits = *last;
  const auto larger = std::count_if(candidates.begin(), last, [&](auto each) { return each > bits; });
  const auto equal = std::count(candidates.begin(), candidates.end(), bits), kept = keep - above - larger;
  return {static_cast<std::int32_t>(bits), kept == equal ? count - 1 : place_of(x, bits, kept)};
}

/// The indices of the values that a run keeps.
void write_kept(const float* x, const Selection& run, std::int32_t* out) {
  const Threshold threshold = threshold_of(x, run.count, run.keep);
  const std::int32_t* end = out + run.keep;
  visit_blocks(x, run.count, [&](std::int64_t first, const float* block, std::int64_t) {
    Marks marks, as_large;
    mark_larger(block, threshold.bits, marks);
    mark_larger(block, threshold.bits - 1, as_large);
    for (std::size_t w = 0; w < marks.size(); ++w)
      marks[w] |= as_large[w] & first_bits(static_cast<std::int64_t>(w), threshold.last + 1 - first);
    out = write_indices(marks.data(), kWords, static_cast<std::int32_t>(run.first + first), out, end);
  });
}

}  // namespace

void cpu_select(FlatSpan values, Runs runs, FlatSpan indices, Stream& stream) {
  stream.host([values, runs = std::move(runs), indices] {
    std::int32_t* out = indices.as<std::int32_t>().data();
    for (const Selection& run : runs->list) {
      write_kept(values.as<float>().data() + run.first, run, out);
      out += run.keep;
    }
  });
}

}  // namespace lockstep::comm
