// Sets of indices as bitmaps on the GPU: the host's words, and the indices they were made of.
#include "tests/comm/cuda/kernel_twins.h"

namespace lockstep::comm {
namespace {

/// A bitmap of indices drawn from the runs, over what it held before, and the indices it tells.
Integers there_and_back(const Site& on, const Runs& runs) {
  const std::int64_t kept = kept_by(runs);
  const FlatArray drawn = on.integers(kept), told = on.integers(kept);
  const FlatArray words = on.holding(Integers(static_cast<std::size_t>((end_of(runs) + 31) / 32), -77));
  on.kernels.draw(runs, 77, drawn.span, *on.stream);
  on.kernels.to_bitmap(drawn.span, words.span, *on.stream);
  on.kernels.from_bitmap(words.span, runs, told.span, *on.stream);
  Integers all = on.read<std::int32_t>(words);
  const Integers given = on.read<std::int32_t>(drawn), back = on.read<std::int32_t>(told);
  EXPECT_TRUE(same_bits(given, back)) << name_of(on.device) << ", " << kept << " of " << end_of(runs);
  all.insert(all.end(), back.begin(), back.end());
  return all;
}

TEST_F(GpuKernels, bitmaps_tell_the_indices_they_were_made_of) {
  expect_same("bitmap of runs", [](const Site& on) { return there_and_back(on, runs_of(kSomeRuns)); });
  expect_same("bitmap of runs at odd places", [](const Site& on) {
    return there_and_back(
        on, make_runs({{3, 29, 29}, {33, 1, 1}, {64, 1009, 0}, {1200, 31, 1}, {6001, 4333, 4333}}));
  });
  for (const std::int64_t count : {1, 31, 32, 33, 1009, 4096, 4097, 1'500'007}) {
    for (const std::int64_t keep : {std::int64_t{1}, count / 31, count * 2 / 5, count}) {
      if (keep == 0) continue;
      expect_same(std::to_string(keep) + " of " + std::to_string(count), [&](const Site& on) {
        return there_and_back(on, make_runs({{count % 7, count, keep}}));
      });
    }
  }
}

TEST_F(GpuKernels, selected_indices_survive_a_bitmap) {
  expect_same("selection as a bitmap", [](const Site& on) {
    const Runs runs = runs_of(kSomeRuns);
    const FlatArray x = on.holding(normals(end_of(runs))), words = on.integers((end_of(runs) + 31) / 32);
    const FlatArray chosen = on.integers(kept_by(runs)), told = on.integers(kept_by(runs));
    on.kernels.select(x.span, runs, chosen.span, *on.stream);
    on.kernels.to_bitmap(chosen.span, words.span, *on.stream);
    on.kernels.from_bitmap(words.span, runs, told.span, *on.stream);
    const Integers back = on.read<std::int32_t>(told);
    EXPECT_TRUE(same_bits(on.read<std::int32_t>(chosen), back));
    return back;
  });
}

}  // namespace
}  // namespace lockstep::comm
