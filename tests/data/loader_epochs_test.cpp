// Whole epochs through real loaders: every sample exactly once over any ranks, buffers used again and never
// under the caller's feet, seeks anywhere, files pinned to ranks, and failures of reading.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "core/random.h"
#include "data_files.h"

namespace lockstep::data {
namespace {

/// A set in memory: "image" u8 [1] = number % 256, "label" i32 = number; counts reads, and fails when told.
class Numbers final : public Dataset {
 public:
  explicit Numbers(std::int64_t size) : size_(size), files_{{"numbers.h5", 0, size}} {}
  [[nodiscard]] std::int64_t size() const noexcept override { return size_; }
  [[nodiscard]] std::span<const TensorSpec> sample() const noexcept override { return tensors_; }
  void read(std::span<const std::int64_t> indices, SampleBuffers& into) const override {
    reads += 1;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      if (indices[i] == bad_sample)
        throw Error(Fault::data, where(indices[i]) + " is damaged", "copy it again");
      if (into.tensors[0] != nullptr) into.tensors[0][i] = static_cast<std::byte>(indices[i]);
      const auto label = static_cast<std::int32_t>(indices[i]);
      if (into.tensors[1] != nullptr) std::memcpy(into.tensors[1] + 4 * i, &label, 4);
    }
  }
  [[nodiscard]] std::string fact(std::string_view) const override { return ""; }
  [[nodiscard]] std::int64_t classes() const override { return size_; }
  [[nodiscard]] std::span<const FileRange> files() const noexcept override { return files_; }
  [[nodiscard]] std::string where(std::int64_t index) const override {
    return "sample " + std::to_string(index);
  }

  mutable std::atomic<int> reads = 0;
  std::atomic<std::int64_t> bad_sample = -1;

 private:
  std::int64_t size_;
  std::vector<TensorSpec> tensors_{{"image", Dtype::u8, Shape{1}}, {"label", Dtype::i32, Shape{}}};
  std::vector<FileRange> files_;
};

std::vector<std::int32_t> labels_of(const Microbatch& batch) {
  const auto* labels = static_cast<const std::int32_t*>(batch.target);
  return {labels, labels + batch.rows};
}

/// How often each sample is dealt in one epoch over all ranks.
std::vector<int> dealt(const Dataset& set, int ranks, std::int64_t per_step, const LoaderOptions& how,
                       std::int64_t epoch) {
  std::vector<int> seen(static_cast<std::size_t>(set.size()), 0);
  for (int rank = 0; rank < ranks; ++rank) {
    LoaderOptions mine = how;
    mine.shard = shard_of(rank, ranks, per_step);
    const auto loader = make_loader(set, loader_options({{"threads", "2"}}), mine);
    loader->seek(epoch * loader->spec().steps_per_epoch);
    for (std::int64_t i = 0; i < loader->spec().steps_per_epoch * mine.shard.count; ++i) {
      const auto& batch = loader->next();
      EXPECT_EQ(batch.epoch, how.train ? epoch : 0);
      for (const auto label : labels_of(batch)) ++seen[static_cast<std::size_t>(label)];
    }
  }
  return seen;
}

class EveryEpoch : public testing::TestWithParam<std::tuple<int, std::int64_t>> {};
INSTANTIATE_TEST_SUITE_P(RanksAndSizes, EveryEpoch,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5), testing::Values(31, 40, 97)));

TEST_P(EveryEpoch, dropping_deals_no_sample_twice_and_leaves_out_less_than_a_step) {
  const auto [ranks, size] = GetParam();
  const Numbers set(size);
  for (const std::int64_t epoch : {0, 1, 5}) {
    const auto seen = dealt(set, ranks, 5, {.seed = 1, .microbatch = 2, .tail = Tail::drop}, epoch);
    EXPECT_LE(*std::ranges::max_element(seen), 1);
    EXPECT_EQ(std::ranges::count(seen, 0), size % 10);
  }
}

TEST_P(EveryEpoch, wrapping_deals_every_sample_and_repeats_less_than_a_step) {
  const auto [ranks, size] = GetParam();
  const Numbers set(size);
  const auto seen = dealt(set, ranks, 5, {.seed = 1, .microbatch = 2, .tail = Tail::wrap}, 2);
  EXPECT_GE(*std::ranges::min_element(seen), 1);
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), std::int64_t{0}), (size + 9) / 10 * 10);
}

TEST_P(EveryEpoch, evaluation_deals_every_sample_exactly_once) {
  const auto [ranks, size] = GetParam();
  const Numbers set(size);
  const auto seen = dealt(set, ranks, 5, {.microbatch = 2, .train = false}, 0);
  EXPECT_EQ(std::ranges::count(seen, 1), size);
}

TEST(LoaderOrder, epochs_and_seeds_differ_and_repeat) {
  const Numbers set(60);
  const auto order = [&](std::uint64_t seed, std::int64_t epoch) {
    const auto loader = make_loader(set, loader_options(), {.seed = seed, .microbatch = 60});
    loader->seek(epoch);
    return labels_of(loader->next());
  };
  std::set<std::vector<std::int32_t>> orders;
  for (const std::uint64_t seed : {0, 1, 2}) {
    for (const std::int64_t epoch : {0, 1, 2}) {
      orders.insert(order(seed, epoch));
      EXPECT_EQ(order(seed, epoch), order(seed, epoch));
    }
  }
  EXPECT_EQ(orders.size(), 9U);
}

TEST(LoaderOrder, seeks_anywhere_find_what_replay_finds) {
  const Numbers set(101);
  for (const char* threads : {"1", "4"}) {
    const LoaderOptions how{.seed = 3, .microbatch = 4, .shard = shard_of(1, 3, 7), .tail = Tail::wrap};
    const auto settings = loader_options({{"threads", threads}});
    std::vector<std::vector<std::int32_t>> all;
    const auto replay = make_loader(set, settings, how);
    for (int i = 0; i < 40 * static_cast<int>(how.shard.count); ++i) all.push_back(labels_of(replay->next()));
    const auto seeking = make_loader(set, settings, how);
    const RandomSource random(1, "seeks", 0);
    for (std::uint64_t i = 0; i < 40; ++i) {
      const auto step = static_cast<std::int64_t>(random.below(i, 40));
      seeking->seek(step);
      const auto first = static_cast<std::size_t>(step * how.shard.count);
      for (std::size_t more = 0; more < i % 4 && first + more < all.size(); ++more) {
        ASSERT_EQ(labels_of(seeking->next()), all[first + more]) << "step " << step;
      }
    }
  }
}

TEST(LoaderOrder, seek_reads_nothing_of_what_it_jumps_over) {
  const Numbers set(10'000);
  const auto loader = make_loader(set, loader_options(), {.microbatch = 1, .prefetch = 4});
  (void)loader->next();
  loader->seek(9'000);
  EXPECT_EQ(loader->next().first_position, 9'000);
  EXPECT_LT(set.reads, 60);
}

// ---- buffers

TEST(LoaderBuffers, are_few_and_used_again) {
  const Numbers set(64);
  const auto loader =
      make_loader(set, loader_options({{"threads", "2"}}), {.microbatch = 2, .keep = 3, .prefetch = 2});
  std::set<const void*> inputs, targets;
  for (int i = 0; i < 200; ++i) {
    const auto& batch = loader->next();
    inputs.insert(batch.input);
    targets.insert(batch.target);
  }
  EXPECT_EQ(inputs.size(), 5U);
  EXPECT_EQ(targets.size(), 5U);
}

TEST(LoaderBuffers, reading_ahead_stops_when_nobody_takes) {
  const Numbers set(1000);
  const auto loader =
      make_loader(set, loader_options({{"threads", "4"}}), {.microbatch = 1, .keep = 2, .prefetch = 3});
  (void)loader->next();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_LE(set.reads, 2 * (1 + 5));  // input and target of the one taken and of those ahead
}

TEST(LoaderBuffers, the_last_ones_handed_out_keep_their_content) {
  const Numbers set(256);
  for (const int keep : {1, 2, 5}) {
    const auto loader =
        make_loader(set, loader_options({{"threads", "3"}}), {.microbatch = 4, .keep = keep, .prefetch = 2});
    std::vector<std::pair<const Microbatch*, std::vector<std::int32_t>>> kept;
    for (int i = 0; i < 100; ++i) {
      const auto& batch = loader->next();
      kept.emplace_back(&batch, labels_of(batch));
      const auto first = kept.size() - std::min(kept.size(), static_cast<std::size_t>(keep));
      for (std::size_t at = first; at < kept.size(); ++at)
        ASSERT_EQ(labels_of(*kept[at].first), kept[at].second);
    }
  }
}

TEST(LoaderBuffers, loader_may_die_while_it_reads_ahead) {
  const Numbers set(1000);
  for (int i = 0; i < 50; ++i) {
    const auto loader =
        make_loader(set, loader_options({{"threads", "3"}}), {.microbatch = 2, .prefetch = 6});
    if (i % 2 == 0) (void)loader->next();
    if (i % 3 == 0) loader->seek(i);
  }
  SUCCEED();
}

// ---- failures

TEST(LoaderFailure, surfaces_at_its_turn_and_every_call_after_and_goes_away_with_a_seek) {
  Numbers set(40);
  set.bad_sample = 13;
  for (const char* threads : {"1", "4"}) {
    const auto loader =
        make_loader(set, loader_options({{"threads", threads}}), {.microbatch = 2, .train = false});
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(labels_of(loader->next()), (std::vector<std::int32_t>{2 * i, 2 * i + 1}));
    for (int attempt = 0; attempt < 3; ++attempt) {
      const auto error = error_of([&] { (void)loader->next(); });
      EXPECT_EQ(error.fault(), Fault::data);
      EXPECT_STREQ(error.what(), "sample 13 is damaged");
      EXPECT_EQ(error.hint(), "copy it again");
    }
    loader->seek(7);
    EXPECT_EQ(labels_of(loader->next()), (std::vector<std::int32_t>{14, 15}));
  }
}

TEST(LoaderFailure, may_heal_before_the_next_seek) {
  Numbers set(40);
  set.bad_sample = 0;
  const auto loader = make_loader(set, loader_options(), {.microbatch = 2, .train = false});
  EXPECT_EQ(error_of([&] { (void)loader->next(); }).fault(), Fault::data);
  set.bad_sample = -1;
  loader->seek(0);
  EXPECT_EQ(labels_of(loader->next()), (std::vector<std::int32_t>{0, 1}));
}

TEST(LoaderFailure, impossible_settings_are_refused_before_anything_is_read) {
  const Numbers set(3);
  EXPECT_EQ(error_of([&] { (void)make_loader(set, loader_options(), {.microbatch = 4}); }).fault(),
            Fault::config);
  EXPECT_EQ(error_of([&] { (void)make_loader(set, loader_options(), {.microbatch = 0}); }).fault(),
            Fault::config);
  EXPECT_EQ(error_of([&] { (void)make_loader(Numbers(0), loader_options(), {.train = false}); }).fault(),
            Fault::config);
  EXPECT_EQ(set.reads, 0);
}

TEST(LoaderSpecs, tail_is_told_in_the_loaders_words) {
  const Numbers set(25);
  const auto note = [&](Tail tail, bool train) {
    return make_loader(set, loader_options(), {.microbatch = 10, .tail = tail, .train = train})
        ->spec()
        .tail_note;
  };
  EXPECT_NE(note(Tail::drop, true).find("5 of 25 samples"), std::string::npos);
  EXPECT_NE(note(Tail::wrap, true).find("5 samples are seen twice"), std::string::npos);
  EXPECT_EQ(note(Tail::drop, false), "");
}

TEST(LoaderSpecs, tail_and_cache_settings_become_their_arguments) {
  EXPECT_EQ(tail_of(loader_options()), Tail::drop);
  EXPECT_EQ(tail_of(loader_options({{"tail", "wrap"}})), Tail::wrap);
  EXPECT_EQ(cache_bytes_of(loader_options({{"cache_mb", "3"}})), std::size_t{3} << 20);
  EXPECT_EQ(steps_of(25, 10, Tail::drop), 2);
  EXPECT_EQ(steps_of(25, 10, Tail::wrap), 3);
  EXPECT_EQ(steps_of(20, 10, Tail::wrap), 2);
  EXPECT_EQ(steps_of(0, 10, Tail::wrap), 0);
}

}  // namespace
}  // namespace lockstep::data
