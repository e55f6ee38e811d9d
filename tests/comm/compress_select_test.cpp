// Which values of a run are the largest: the host's selection beside a plain sort.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "comm/compress/kernels.h"
#include "core/random.h"
#include "tests/comm/compress_lab.h"

namespace lockstep::comm::compress {
namespace {

using Places = std::vector<std::int32_t>;

constexpr std::int32_t kUnwritten = -77;
constexpr std::size_t kBehind = 40;

std::vector<float> drawn(std::int64_t count) {
  const RandomSource source(11, "select test", 0);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = source.normal(i);
  return values;
}
std::vector<float> with_ties(std::int64_t count) {
  std::vector<float> values = drawn(count);
  for (float& x : values) x = std::round(2 * x);
  return values;
}

/// The largest magnitudes of each run, the lower place among equals, in the order of places. NaN is the
/// largest.
Places sorted(const std::vector<float>& x, const std::vector<Selection>& runs) {
  Places all;
  for (const Selection& run : runs) {
    Places places(static_cast<std::size_t>(run.count));
    std::iota(places.begin(), places.end(), static_cast<std::int32_t>(run.first));
    const auto size = [&](std::int32_t place) {
      const float magnitude = std::abs(x[static_cast<std::size_t>(place)]);
      return std::isnan(magnitude) ? std::pair{1, 0.0f} : std::pair{0, magnitude};
    };
    std::stable_sort(places.begin(), places.end(), [&](auto a, auto b) { return size(a) > size(b); });
    places.resize(static_cast<std::size_t>(run.keep));
    std::sort(places.begin(), places.end());
    all.insert(all.end(), places.begin(), places.end());
  }
  return all;
}

void expect_largest(std::vector<float> x, const std::vector<Selection>& runs, const std::string& what) {
  const Places expected = sorted(x, runs);
  Places found(expected.size() + kBehind, kUnwritten);
  const auto stream = make_stream(Device{});
  compress_kernels(Device{}).select(flat(std::span(x)), make_runs(runs),
                                    flat(std::span(found).first(expected.size())), *stream);
  stream->synchronize();
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(found[i], i < expected.size() ? expected[i] : kUnwritten) << what << ", index " << i;
}

TEST(CompressSelect, keeps_the_largest_and_the_lower_places_among_equals) {
  for (const std::int64_t count : {1, 31, 32, 1023, 1024, 1025, 4099, 100003}) {
    for (const std::int64_t keep :
         {std::int64_t{1}, count / 100, count / 10, 2 * count / 5, count - 1, count}) {
      if (keep < 1) continue;
      const std::string what = std::to_string(keep) + " of " + std::to_string(count);
      expect_largest(drawn(count), {{0, count, keep}}, what);
      expect_largest(with_ties(count), {{0, count, keep}}, what + " with ties");
      expect_largest(std::vector<float>(static_cast<std::size_t>(count)), {{0, count, keep}},
                     what + " zeros");
    }
  }
}

TEST(CompressSelect, takes_each_run_for_itself_wherever_it_begins) {
  const std::vector<Selection> runs{
      {0, 7, 3}, {7, 1025, 400}, {1033, 1, 1}, {1100, 3001, 1}, {4101, 2048, 2048}};
  expect_largest(drawn(6149), runs, "runs");
  expect_largest(with_ties(6149), runs, "runs with ties");
}

TEST(CompressSelect, takes_infinities_and_nan_for_the_largest) {
  std::vector<float> x = drawn(3000);
  x[5] = std::numeric_limits<float>::infinity();
  x[1500] = -std::numeric_limits<float>::infinity();
  x[2999] = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t keep : {1, 2, 3, 4}) expect_largest(x, {{0, 3000, keep}}, std::to_string(keep));
}

}  // namespace
}  // namespace lockstep::comm::compress
