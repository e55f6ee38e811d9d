// Files pinned to ranks: each rank deals the samples of its own files, shuffled anew each epoch, and all
// ranks make equally many steps.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "data_files.h"

namespace lockstep::data {
namespace {

/// The samples of the next `count` microbatches.
std::vector<std::vector<std::int64_t>> take(Loader& loader, std::int64_t count) {
  std::vector<std::vector<std::int64_t>> all;
  for (std::int64_t i = 0; i < count; ++i) all.push_back(loader.next().indices);
  return all;
}

class PinnedFilesTest : public testing::Test {
 protected:
  PinnedFilesTest() {
    for (const auto& [name, samples, first] :
         {std::tuple("a.h5", 11, 0), std::tuple("b.h5", 13, 11), std::tuple("c.h5", 9, 24)}) {
      files_.push_back(numbered_file(folder_.file(name), samples, first));
    }
    set_ = open_hdf5(files_, "train");
  }
  TemporaryFolder folder_;
  std::vector<std::string> files_;
  std::unique_ptr<Dataset> set_;
  Options pinned_ = loader_options({{"sharding", "files"}});
};

TEST_F(PinnedFilesTest, each_rank_keeps_to_its_files_and_sees_them_once) {
  std::vector<int> seen(33, 0);
  for (int rank = 0; rank < 3; ++rank) {
    const auto loader =
        make_loader(*set_, pinned_, {.seed = 2, .microbatch = 3, .shard = shard_of(rank, 3, 3)});
    EXPECT_EQ(loader->spec().steps_per_epoch, 3);  // the smallest file gives three
    const auto& own = set_->files()[static_cast<std::size_t>(rank)];
    for (const auto& indices : take(*loader, 3)) {
      for (const auto index : indices) {
        EXPECT_TRUE(index >= own.first && index < own.first + own.count);
        ++seen[static_cast<std::size_t>(index)];
      }
    }
  }
  EXPECT_LE(*std::ranges::max_element(seen), 1);
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 27);
}

TEST_F(PinnedFilesTest, wrapping_shows_every_sample) {
  std::vector<int> seen(33, 0);
  for (int rank = 0; rank < 3; ++rank) {
    const auto loader = make_loader(
        *set_, pinned_, {.seed = 2, .microbatch = 3, .shard = shard_of(rank, 3, 3), .tail = Tail::wrap});
    for (const auto& indices : take(*loader, loader->spec().steps_per_epoch)) {
      for (const auto index : indices) ++seen[static_cast<std::size_t>(index)];
    }
  }
  EXPECT_GE(*std::ranges::min_element(seen), 1);
}

TEST_F(PinnedFilesTest, more_ranks_than_files_is_refused) {
  const auto error = error_of([&] { (void)make_loader(*set_, pinned_, {.shard = shard_of(0, 4, 4)}); });
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "4 ranks") && mentions(error, "there are 3")) << error.what();
}

TEST_F(PinnedFilesTest, each_epoch_is_another_order_of_the_same_file) {
  const auto loader = make_loader(
      *set_, pinned_, {.seed = 2, .microbatch = 11, .shard = shard_of(0, 3, 3), .tail = Tail::wrap});
  ASSERT_EQ(loader->spec().steps_per_epoch, 2);  // the largest file gives two
  std::vector<std::vector<std::int64_t>> orders;
  for (int epoch = 0; epoch < 4; ++epoch) {
    auto indices = take(*loader, 2).front();
    orders.push_back(indices);
    std::ranges::sort(indices);
    std::vector<std::int64_t> own(11);
    std::iota(own.begin(), own.end(), 0);
    EXPECT_EQ(indices, own);
  }
  for (std::size_t a = 0; a < orders.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) EXPECT_NE(orders[a], orders[b]);
  }
}

TEST_F(PinnedFilesTest, equal_files_of_two_ranks_are_shuffled_differently) {
  files_ = {numbered_file(folder_.file("d.h5"), 20), numbered_file(folder_.file("e.h5"), 20)};
  const auto twins = open_hdf5(files_, "train");
  const auto order = [&](int rank) {
    const auto loader =
        make_loader(*twins, pinned_, {.seed = 2, .microbatch = 20, .shard = shard_of(rank, 2, 2)});
    auto indices = loader->next().indices;
    for (auto& index : indices) index %= 20;
    return indices;
  };
  EXPECT_NE(order(0), order(1));
}

TEST_F(PinnedFilesTest, seek_equals_replay_in_every_shard) {
  for (int rank = 0; rank < 3; ++rank) {
    const LoaderOptions how{.seed = 5, .microbatch = 2, .shard = shard_of(rank, 3, 4), .tail = Tail::wrap};
    const auto replayed = make_loader(*set_, pinned_, how);
    const auto all = take(*replayed, 30 * how.shard.count);
    const auto seeking = make_loader(*set_, pinned_, how);
    for (const std::int64_t step : {17, 0, 29, 4}) {
      seeking->seek(step);
      EXPECT_EQ(take(*seeking, 1).front(), all[static_cast<std::size_t>(step * how.shard.count)]) << rank;
    }
  }
}

TEST_F(PinnedFilesTest, ranks_agree_on_the_steps_whatever_their_files) {
  for (const Tail tail : {Tail::drop, Tail::wrap}) {
    for (const int ranks : {1, 2, 3}) {
      std::vector<std::int64_t> steps;
      for (int rank = 0; rank < ranks; ++rank) {
        const LoaderOptions how{.microbatch = 2, .shard = shard_of(rank, ranks, 3), .tail = tail};
        steps.push_back(make_loader(*set_, pinned_, how)->spec().steps_per_epoch);
      }
      EXPECT_EQ(std::ranges::count(steps, steps.front()), ranks);
    }
  }
}

TEST_F(PinnedFilesTest, more_files_than_ranks_are_dealt_in_runs) {
  std::vector<int> seen(33, 0);
  for (int rank = 0; rank < 2; ++rank) {
    const auto loader =
        make_loader(*set_, pinned_, {.microbatch = 1, .shard = shard_of(rank, 2, 2), .tail = Tail::wrap});
    for (const auto& indices : take(*loader, loader->spec().steps_per_epoch)) {
      for (const auto index : indices) {
        ++seen[static_cast<std::size_t>(index)];
        EXPECT_EQ(index < 11, rank == 0) << "rank 0 has the first file, rank 1 the other two";
      }
    }
  }
  EXPECT_GE(*std::ranges::min_element(seen), 1);
}

TEST_F(PinnedFilesTest, positions_of_all_ranks_stay_apart) {
  std::vector<std::int64_t> positions;
  for (int rank = 0; rank < 3; ++rank) {
    const auto loader = make_loader(*set_, pinned_, {.microbatch = 3, .shard = shard_of(rank, 3, 3)});
    for (int i = 0; i < 6; ++i) positions.push_back(loader->next().first_position);
  }
  std::ranges::sort(positions);
  for (std::size_t i = 0; i < positions.size(); ++i)
    EXPECT_EQ(positions[i], static_cast<std::int64_t>(3 * i));
}

TEST_F(PinnedFilesTest, evaluation_deals_all_files_to_all_ranks_once) {
  std::vector<int> seen(33, 0);
  for (int rank = 0; rank < 2; ++rank) {
    const auto loader =
        make_loader(*set_, pinned_, {.microbatch = 4, .shard = shard_of(rank, 2, 2), .train = false});
    for (const auto& indices : take(*loader, loader->spec().steps_per_epoch)) {
      for (const auto index : indices) ++seen[static_cast<std::size_t>(index)];
    }
  }
  EXPECT_EQ(std::ranges::count(seen, 1), 33);
}

TEST(PinnedTokens, windows_of_tokens_are_refused) {
  const TemporaryFolder folder;
  const auto set = open_hdf5({token_file(folder.file("t.h5"), 100, 50)}, "train");
  const auto error = error_of([&] {
    (void)make_loader(*set, loader_options({{"sharding", "files"}, {"context", "8"}}), {.microbatch = 2});
  });
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "not windows of tokens")) << error.what();
}

}  // namespace
}  // namespace lockstep::data
