// Which elements a message holds: bitmaps and indices tell the same, and the shorter of them is sent.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "comm/compress/kernels.h"
#include "core/random.h"
#include "tests/comm/compress_lab.h"

namespace lockstep::comm::compress {
namespace {

using Integers = std::vector<std::int32_t>;

constexpr std::int32_t kUntouched = -77;

/// `keep` random elements of each run, ascending.
Integers some_of(const std::vector<Selection>& runs) {
  const RandomSource source(5, "bitmap test", 0);
  Integers indices;
  for (const Selection& run : runs) {
    std::int64_t wanted = run.keep;
    for (std::int64_t i = 0; i < run.count; ++i) {
      const auto left = static_cast<std::uint64_t>(run.count - i);
      if (static_cast<std::int64_t>(source.below(static_cast<std::uint64_t>(run.first + i), left)) >= wanted)
        continue;
      indices.push_back(static_cast<std::int32_t>(run.first + i));
      --wanted;
    }
  }
  return indices;
}

/// Both ways, beside plain loops; what lies behind the arrays stays as it is.
void expect_round_trip(const std::vector<Selection>& runs, const std::string& what) {
  constexpr std::size_t kBeyond = 40;
  const std::int64_t elements = runs.back().first + runs.back().count;
  const Integers indices = some_of(runs);
  std::vector<std::uint32_t> expected(static_cast<std::size_t>((elements + 31) / 32));
  for (const std::int32_t index : indices)
    expected[static_cast<std::size_t>(index / 32)] |= std::uint32_t{1} << index % 32;

  Integers given = indices;
  Integers words(expected.size() + kBeyond, kUntouched), back(indices.size() + kBeyond, kUntouched);
  const FlatSpan bitmap = flat(std::span(words).first(expected.size()));
  const auto stream = make_stream(Device{});
  const Kernels& kernels = compress_kernels(Device{});
  kernels.to_bitmap(flat(std::span(given)), bitmap, *stream);
  kernels.from_bitmap(bitmap, make_runs(runs), flat(std::span(back).first(indices.size())), *stream);
  stream->synchronize();

  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(static_cast<std::uint32_t>(words[i]), expected[i]) << what << ", word " << i;
  for (std::size_t i = 0; i < indices.size(); ++i) ASSERT_EQ(back[i], indices[i]) << what << ", index " << i;
  for (std::size_t i = 0; i < kBeyond; ++i) {
    ASSERT_EQ(words[expected.size() + i], kUntouched) << what;
    ASSERT_EQ(back[indices.size() + i], kUntouched) << what;
  }
}

TEST(CompressBitmap, tells_the_indices_it_was_made_of) {
  for (const std::int64_t count : {0, 1, 2, 31, 32, 33, 63, 64, 65, 1009, 4096, 100'003}) {
    for (const std::int64_t keep :
         {std::int64_t{0}, std::int64_t{1}, count / 31, count * 2 / 5, count - 1, count}) {
      if (keep < 0 || keep > count) continue;
      for (const std::int64_t first : {0, 1, 77}) {
        expect_round_trip({{first, count, keep}}, std::to_string(keep) + " of " + std::to_string(count) +
                                                      " elements from " + std::to_string(first));
      }
    }
  }
}

TEST(CompressBitmap, tells_those_of_several_runs) {
  expect_round_trip(
      {{3, 29, 29}, {33, 1, 1}, {64, 1009, 400}, {1200, 31, 1}, {1331, 4097, 0}, {6001, 333, 333}},
      "six runs");
  expect_round_trip({{5, 1, 0}, {4001, 1, 0}}, "nothing");
}

// ---- what is sent

const Gradient kLongNoise = [](int rank, std::int64_t step) { return normals(4096, rank, step); };
constexpr std::int64_t kWords = 4096 / 32;

Lab lab_of(const std::string& compressor, const std::string& density) {
  return {.shape = {64, 64}, .compressor = compressor, .settings = {{"density", density}}};
}

TEST(CompressBitmap, the_shorter_form_of_the_leaders_indices_is_sent) {
  for (const auto& [density, kept, words] : {std::tuple{"0.4", 1638, kWords},
                                             {"0.03125", 128, kWords},  // as long as indices
                                             {"0.03", 123, std::int64_t{123}},
                                             {"0.01", 41, std::int64_t{41}}}) {
    Lab lab = lab_of("shared_topk", density);
    for (const int leader : {0, 1, 2}) {
      lab.steps = leader + 1;
      const Result result = run(lab, 3, kLongNoise);
      // A ring sends 2 chunks of 3, twice; of the leader's words a tree sends one copy to each other rank.
      EXPECT_EQ(std::accumulate(result.sent_bytes.begin(), result.sent_bytes.end(), std::int64_t{0}),
                4 * (2 * 2 * kept + 2 * words))
          << density << ", led by " << leader;
      const auto sent = [&](int rank) { return result.sent_bytes[static_cast<std::size_t>(rank % 3)]; };
      for (const int other : {1, 2})  // chunks differ by an element
        EXPECT_NEAR(sent(leader) - sent(leader + other), 2 * 4 * words, 8) << density;
    }
  }
}

TEST(CompressBitmap, the_shorter_form_of_all_ranks_indices_is_sent) {
  for (const auto& [density, kept, words] :
       {std::tuple{"0.1", 410, kWords}, {"0.03", 123, std::int64_t{123}}, {"0.01", 41, std::int64_t{41}}}) {
    for (const std::int64_t each : run(lab_of("topk", density), 3, kLongNoise).sent_bytes)
      EXPECT_EQ(each, 2 * 4 * (kept + words)) << density;
  }
}

TEST(CompressBitmap, the_form_follows_a_warm_up) {
  Lab lab = lab_of("dgc", "0.01");
  lab.settings.emplace_back("warmup_steps", "4");
  const std::int64_t sent[] = {1024 + kWords, 256 + kWords, 64 + 64, 41 + 41, 41 + 41};
  for (int step = 0; step < 5; ++step) {
    lab.steps = step + 1;
    for (const std::int64_t each : run(lab, 3, kLongNoise).sent_bytes)
      EXPECT_EQ(each, 2 * 4 * sent[step]) << "step " << step;
  }
}

// ---- what arrives

/// Values where `chosen_by` has its `kept` largest magnitudes, else 0.
Values largest(const Values& values, const Values& chosen_by, std::size_t kept) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return std::abs(chosen_by[a]) > std::abs(chosen_by[b]); });
  Values left(values.size(), 0.0f);
  for (std::size_t j = 0; j < kept; ++j) left[order[j]] = values[order[j]];
  return left;
}

TEST(CompressBitmap, the_sum_is_that_of_the_largest_in_either_form) {
  const Gradient whole = [](int rank, std::int64_t step) {  // sums are exact, and many magnitudes are equal
    Values values = kLongNoise(rank, step);
    for (float& x : values) x = std::round(64 * x);
    return values;
  };
  for (const auto& [density, kept] : {std::pair{"0.01", 41}, {"0.4", 1638}, {"1", 4096}}) {
    for (const int ranks : {1, 2, 4}) {
      Values each(4096, 0.0f), shared(4096, 0.0f);
      for (int rank = 0; rank < ranks; ++rank) {
        const Values own = whole(rank, 0);
        const Values mine = largest(own, own, static_cast<std::size_t>(kept));
        const Values leaders = largest(own, whole(0, 0), static_cast<std::size_t>(kept));
        for (std::size_t i = 0; i < own.size(); ++i) each[i] += mine[i], shared[i] += leaders[i];
      }
      EXPECT_EQ(run(lab_of("topk", density), ranks, whole).sum, each) << density << ", " << ranks << " ranks";
      EXPECT_EQ(run(lab_of("shared_topk", density), ranks, whole).sum, shared) << density << ", " << ranks;
    }
  }
}

}  // namespace
}  // namespace lockstep::comm::compress
