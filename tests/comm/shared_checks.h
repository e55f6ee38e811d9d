// Checks of sums in shared memory, the same for ranks as threads and under mpirun.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/comm/sums.h"

namespace lockstep::comm {

/// Sizes on both sides of one shot, of a piece of a stage, and of several pieces. Many ranks on few cores
/// take long to meet: they do without the largest.
inline std::vector<std::int64_t> shared_sizes(int ranks) {
  if (ranks > 4) return {1, 97, 8'193, 20'011};
  return {1, 2, 97, 4'096, 8'193, 100'003, 131'072, 131'073, 400'009};
}

/// Random values in memory that the transport owns sum to the bits that the plans give in memory, again and
/// again: a second sum must not meet what the first left behind.
inline void expect_sums_in_owned_memory(World& world) {
  Summer summer(world, {"shared", schedule_named("shared")});
  const std::int64_t longest = 400'009 + 64;
  const Memory memory = summer.collectives->shared_memory(static_cast<std::size_t>(longest) * 4);
  ASSERT_NE(memory.data(), nullptr);
  for (const std::int64_t count : shared_sizes(world.size())) {
    std::vector<std::vector<float>> arrays;
    for (int rank = 0; rank < world.size(); ++rank) arrays.push_back(normal_values(rank, count));
    const std::vector<float> own = arrays[static_cast<std::size_t>(world.rank())];
    run_plans(*schedule_named("recursive_doubling"), arrays);
    for (const std::int64_t offset : {0, 3, 64}) {
      const FlatSpan data = memory.view(Dtype::f32, longest).part(offset, count);
      std::ranges::copy(own, data.as<float>().begin());
      summer.collectives->sum(data, *summer.stream);
      summer.stream->synchronize();
      ASSERT_EQ(std::memcmp(data.data, arrays[0].data(), data.bytes()), 0) << count << " at " << offset;
    }
  }
}

/// The same values in other memory, staged: the same bits, the same counted cost.
inline void expect_staged_sums(World& world) {
  Summer summer(world, {"shared", schedule_named("shared")});
  for (const std::int64_t count : shared_sizes(world.size())) {
    expect_exact_sum<float>(summer, count);
    expect_exact_sum<Bf16>(summer, count);
    expect_exact_sum<double>(summer, count);
    expect_same_bits(world, summer, count);
  }
}

/// Many sums in a row without waiting, of alternating kinds and places.
inline void expect_sums_in_a_row(World& world) {
  Summer summer(world, {"shared", schedule_named("shared")});
  const Memory memory = summer.collectives->shared_memory(40'000 * 4);
  std::vector<FlatSpan> spans;
  std::vector<std::vector<float>> own;
  own.reserve(40);  // spans point into it
  for (std::int64_t i = 0; i < 40; ++i) {
    if (i % 2 == 0) {
      spans.push_back(memory.view(Dtype::f32, 40'000).part(i * 1000, 1000));
    } else {
      own.emplace_back(static_cast<std::size_t>(i * 997), 0.0f);
      spans.push_back(flat(std::span(own.back())));
    }
    std::ranges::fill(spans.back().as<float>(), static_cast<float>(i * (world.rank() + 1)));
  }
  for (const FlatSpan& span : spans) summer.collectives->sum(span, *summer.stream);
  summer.stream->synchronize();
  const int ranks = world.size();
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const float expected = static_cast<float>(i) * static_cast<float>(ranks * (ranks + 1)) / 2;
    for (const float x : spans[i].as<float>()) ASSERT_EQ(x, expected) << "sum " << i;
  }
}

}  // namespace lockstep::comm
