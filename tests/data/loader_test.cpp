// The loader: what it deals is what the sampler says, at any number of threads, after any seek, and errors of
// reading surface in next().
#include "data/loader.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "data_files.h"

namespace lockstep::data {
namespace {

struct Dealt {
  std::vector<std::int64_t> indices;
  std::vector<float> input;
  std::vector<std::int32_t> target;
  std::int64_t first_position = 0;
  std::int64_t rows = 0;
  friend bool operator==(const Dealt&, const Dealt&) = default;
};

Dealt take(Loader& loader, std::int64_t microbatch) {
  const auto& batch = loader.next();
  const auto inputs = static_cast<std::size_t>(microbatch * loader.spec().input.count());
  const auto targets = static_cast<std::size_t>(microbatch * loader.spec().target.count());
  Dealt dealt{batch.indices, std::vector<float>(inputs), std::vector<std::int32_t>(targets),
              batch.first_position, batch.rows};
  std::memcpy(dealt.input.data(), batch.input, inputs * 4);
  std::memcpy(dealt.target.data(), batch.target, targets * 4);
  return dealt;
}

std::vector<Dealt> take(Loader& loader, std::int64_t microbatch, int count) {
  std::vector<Dealt> all;
  for (int i = 0; i < count; ++i) all.push_back(take(loader, microbatch));
  return all;
}

class LoaderTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path_ = numbered_file(folder_.file("numbered.h5"), 53, 0, {.chunk_rows = 5, .deflate = 2});
  std::unique_ptr<Dataset> set_ = open_hdf5({path_}, "train");
};

TEST_F(LoaderTest, spec_tells_shapes_classes_and_steps) {
  const auto loader =
      make_loader(*set_, loader_options(), {.microbatch = 4, .shard = shard_of(0, 2, 4), .tail = Tail::drop});
  EXPECT_EQ(loader->spec().input, (Shape{1, 2, 2}));
  EXPECT_EQ(loader->spec().target, Shape{});
  EXPECT_EQ(loader->spec().input_dtype, Dtype::f32);
  EXPECT_EQ(loader->spec().target_dtype, Dtype::i32);
  EXPECT_EQ(loader->spec().classes, 3);
  EXPECT_EQ(loader->spec().samples, 53);
  EXPECT_EQ(loader->spec().steps_per_epoch, 3);
  EXPECT_NE(loader->spec().tail_note, "");
}

TEST_F(LoaderTest, inputs_and_labels_belong_to_the_indices) {
  const auto loader = make_loader(*set_, loader_options(), {.microbatch = 4, .shard = shard_of(0, 1, 2)});
  for (const auto& dealt : take(*loader, 4, 20)) {
    for (std::size_t row = 0; row < 4; ++row) {
      EXPECT_EQ(dealt.target[row], dealt.indices[row] % 3);
      EXPECT_FLOAT_EQ(dealt.input[row * 4 + 3], static_cast<float>(dealt.indices[row]) / 255);
    }
  }
}

TEST_F(LoaderTest, ranks_together_see_each_sample_of_an_epoch_once) {
  for (const int ranks : {1, 2, 3, 4, 5, 8}) {
    std::vector<int> seen(53, 0);
    for (int rank = 0; rank < ranks; ++rank) {
      const auto shard = shard_of(rank, ranks, 8);
      const auto loader = make_loader(*set_, loader_options(), {.seed = 3, .microbatch = 2, .shard = shard});
      const auto microbatches = static_cast<int>(loader->spec().steps_per_epoch * shard.count);
      for (const auto& dealt : take(*loader, 2, microbatches)) {
        for (const auto index : dealt.indices) ++seen[static_cast<std::size_t>(index)];
      }
    }
    EXPECT_EQ(std::ranges::count(seen, 1), 48) << ranks;
    EXPECT_EQ(std::ranges::count(seen, 0), 5) << ranks;
  }
}

TEST_F(LoaderTest, unshuffled_order_is_the_stored_one) {
  const auto loader = make_loader(*set_, loader_options({{"shuffle", "false"}, {"threads", "2"}}),
                                  {.seed = 3, .microbatch = 2, .shard = shard_of(1, 2, 4)});
  // Rank 1 takes microbatches 2 and 3 of steps of 8 samples.
  EXPECT_EQ(take(*loader, 2).indices, (std::vector<std::int64_t>{4, 5}));
  EXPECT_EQ(take(*loader, 2).indices, (std::vector<std::int64_t>{6, 7}));
  EXPECT_EQ(take(*loader, 2).indices, (std::vector<std::int64_t>{12, 13}));
}

TEST_F(LoaderTest, threads_do_not_change_what_is_dealt) {
  const LoaderOptions how{.seed = 5, .microbatch = 3, .shard = shard_of(1, 2, 4)};
  const auto one = make_loader(*set_, loader_options({{"crop", "padded"}, {"flip", "true"}}), how);
  const auto four =
      make_loader(*set_, loader_options({{"threads", "4"}, {"crop", "padded"}, {"flip", "true"}}), how);
  EXPECT_EQ(take(*one, 3, 40), take(*four, 3, 40));
}

TEST_F(LoaderTest, seek_equals_replay) {
  const LoaderOptions how{.seed = 5, .microbatch = 3, .shard = shard_of(0, 2, 4)};
  const auto settings = loader_options({{"threads", "3"}, {"crop", "padded"}});
  const auto replayed = make_loader(*set_, settings, how);
  const auto all = take(*replayed, 3, 60);
  const auto seeking = make_loader(*set_, settings, how);
  for (const int step : {17, 0, 29, 4, 4}) {
    seeking->seek(step);
    EXPECT_EQ(take(*seeking, 3), all[static_cast<std::size_t>(2 * step)]) << step;
  }
}

TEST_F(LoaderTest, kept_microbatches_stay_untouched) {
  const auto loader = make_loader(*set_, loader_options({{"threads", "2"}}),
                                  {.microbatch = 2, .shard = shard_of(0, 1, 1), .keep = 3, .prefetch = 2});
  std::vector<const Microbatch*> kept;
  std::vector<std::vector<std::int64_t>> indices;
  for (int i = 0; i < 30; ++i) {
    kept.push_back(&loader->next());
    indices.push_back(kept.back()->indices);
    for (std::size_t back = 0; back < std::min<std::size_t>(3, kept.size()); ++back) {
      const std::size_t at = kept.size() - 1 - back;
      ASSERT_EQ(kept[at]->indices, indices[at]);
      ASSERT_FLOAT_EQ(static_cast<const float*>(kept[at]->input)[0],
                      static_cast<float>(indices[at][0]) / 255);
    }
  }
}

TEST_F(LoaderTest, evaluation_pads_the_last_microbatch_and_then_gives_no_rows) {
  const auto loader =
      make_loader(*set_, loader_options(), {.microbatch = 10, .shard = shard_of(0, 1, 1), .train = false});
  EXPECT_EQ(loader->spec().steps_per_epoch, 6);
  const auto dealt = take(*loader, 10, 8);
  std::vector<std::int64_t> seen;
  for (const auto& each : dealt) seen.insert(seen.end(), each.indices.begin(), each.indices.end());
  std::vector<std::int64_t> all(53);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
  EXPECT_EQ(dealt[5].rows, 3);
  EXPECT_EQ(dealt[6].rows, 0);
  loader->seek(0);
  EXPECT_EQ(take(*loader, 10), dealt[0]);
}

TEST_F(LoaderTest, label_out_of_range_names_file_sample_label_and_classes) {
  const auto path = folder_.file("bad.h5");
  {
    auto file = Hdf5File::create(path);
    file.make_group("/train");
    put(file, "/train/image", Shape{4, 1, 1, 1}, std::vector<std::uint8_t>{1, 2, 3, 4});
    put(file, "/train/label", Shape{4}, std::vector<std::int32_t>{0, 1, 7, 1});
    file.set_attribute("/", "classes", std::int64_t{2});
  }
  const auto bad = open_hdf5({path}, "train");
  const auto loader =
      make_loader(*bad, loader_options(), {.microbatch = 2, .shard = shard_of(0, 1, 1), .train = false});
  EXPECT_EQ(loader->next().rows, 2);
  const auto error = error_of([&] { (void)loader->next(); });
  EXPECT_EQ(error.fault(), Fault::data);
  for (const char* part : {"bad.h5", "sample 2", "is 7", "2 classes"}) {
    EXPECT_TRUE(mentions(error, part)) << error.what();
  }
  EXPECT_EQ(error_of([&] { (void)loader->next(); }).fault(), Fault::data);
  loader->seek(0);
  EXPECT_EQ(loader->next().rows, 2);
}

TEST_F(LoaderTest, ignored_label_passes) {
  const auto path = folder_.file("ignored.h5");
  {
    auto file = Hdf5File::create(path);
    file.make_group("/train");
    put(file, "/train/image", Shape{2, 1, 1, 1}, std::vector<std::uint8_t>{1, 2});
    put(file, "/train/label", Shape{2}, std::vector<std::int32_t>{-100, 1});
  }
  const auto set = open_hdf5({path}, "train");
  const auto loader = make_loader(*set, loader_options({{"classes", "2"}}),
                                  {.microbatch = 2, .shard = shard_of(0, 1, 1), .train = false});
  EXPECT_EQ(take(*loader, 2).target, (std::vector<std::int32_t>{-100, 1}));
}

TEST_F(LoaderTest, unstated_classes_are_refused) {
  const auto path = folder_.file("unstated.h5");
  {
    auto file = Hdf5File::create(path);
    file.make_group("/train");
    put(file, "/train/image", Shape{2, 1, 1, 1}, std::vector<std::uint8_t>{1, 2});
    put(file, "/train/label", Shape{2}, std::vector<std::int32_t>{0, 1});
  }
  const auto set = open_hdf5({path}, "train");
  EXPECT_EQ(error_of([&] { (void)make_loader(*set, loader_options(), {}); }).fault(), Fault::config);
}

TEST_F(LoaderTest, given_tensor_that_does_not_exist_is_refused_with_what_there_is) {
  const auto error = error_of([&] { (void)make_loader(*set_, loader_options({{"target", "lable"}}), {}); });
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_TRUE(mentions(error, "lable"));
  EXPECT_NE(error.hint().find("label i32 []"), std::string::npos) << error.hint();
}

TEST_F(LoaderTest, waiting_time_is_counted) {
  const auto loader = make_loader(*set_, loader_options(), {.microbatch = 2});
  (void)loader->next();
  EXPECT_GE(loader->waited_s(), 0.0);
}

TEST(TokenLoader, windows_are_shifted_by_one_and_tile_the_text) {
  const TemporaryFolder folder;
  const auto set = open_hdf5({token_file(folder.file("t.h5"), 100, 50)}, "train");
  const auto settings = loader_options({{"context", "8"}});
  const auto loader = make_loader(*set, settings, {.microbatch = 2, .shard = shard_of(0, 1, 1)});
  EXPECT_EQ(loader->spec().samples, 12);
  EXPECT_EQ(loader->spec().input, Shape{8});
  EXPECT_EQ(loader->spec().input_dtype, Dtype::i32);
  EXPECT_EQ(loader->spec().classes, 50);
  EXPECT_EQ(describe_samples(*set, settings, true).samples, 12);
  std::vector<int> starts(100, 0);
  for (int i = 0; i < 6; ++i) {
    const auto& batch = loader->next();
    const auto* input = static_cast<const std::int32_t*>(batch.input);
    const auto* target = static_cast<const std::int32_t*>(batch.target);
    for (int row = 0; row < 2; ++row) {
      ++starts[static_cast<std::size_t>(batch.indices[static_cast<std::size_t>(row)] * 8)];
      for (int t = 0; t < 8; ++t) {
        EXPECT_EQ(input[row * 8 + t], (batch.indices[static_cast<std::size_t>(row)] * 8 + t) % 50);
        EXPECT_EQ(target[row * 8 + t], (input[row * 8 + t] + 1) % 50);
      }
    }
  }
  for (int start = 0; start < 96; start += 8) EXPECT_EQ(starts[static_cast<std::size_t>(start)], 1);
}

TEST(TokenLoader, evaluation_counts_every_target_exactly_once) {
  const TemporaryFolder folder;
  for (const std::int64_t tokens : {9, 10, 17, 100, 101, 103}) {
    const auto set = open_hdf5({token_file(folder.file("t.h5"), tokens, 200)}, "train");
    const auto loader = make_loader(*set, loader_options({{"context", "8"}}),
                                    {.microbatch = 4, .shard = shard_of(0, 1, 1), .train = false});
    std::vector<int> counted(static_cast<std::size_t>(tokens), 0);
    for (std::int64_t step = 0; step < loader->spec().steps_per_epoch; ++step) {
      const auto& batch = loader->next();
      const auto* target = static_cast<const std::int32_t*>(batch.target);
      for (std::int64_t i = 0; i < batch.rows * 8; ++i) {
        if (target[i] != kIgnoredTarget) ++counted[static_cast<std::size_t>(target[i])];
      }
    }
    EXPECT_EQ(counted[0], 0);
    EXPECT_EQ(std::ranges::count(counted, 1), tokens - 1) << tokens;
  }
}

TEST(TokenLoader, random_windows_start_anywhere_and_are_keyed_by_position) {
  const TemporaryFolder folder;
  const auto set = open_hdf5({token_file(folder.file("t.h5"), 1000, 1000)}, "train");
  const auto settings = loader_options({{"context", "8"}, {"windows", "random"}});
  std::vector<std::int32_t> one_rank;
  std::vector<std::int32_t> two_ranks(64);
  const auto alone = make_loader(*set, settings, {.seed = 1, .microbatch = 4, .shard = shard_of(0, 1, 2)});
  for (int i = 0; i < 16; ++i) one_rank.push_back(*static_cast<const std::int32_t*>(alone->next().input));
  for (int rank = 0; rank < 2; ++rank) {
    const auto half =
        make_loader(*set, settings, {.seed = 1, .microbatch = 4, .shard = shard_of(rank, 2, 2)});
    for (std::size_t i = 0; i < 8; ++i) {
      two_ranks[2 * i + static_cast<std::size_t>(rank)] =
          *static_cast<const std::int32_t*>(half->next().input);
    }
  }
  two_ranks.resize(16);
  EXPECT_EQ(one_rank, two_ranks);
  EXPECT_TRUE(std::ranges::any_of(one_rank, [](std::int32_t start) { return start % 8 != 0; }));
}

TEST(TokenLoader, too_short_a_text_and_foreign_tokens_are_refused) {
  const TemporaryFolder folder;
  const auto set = open_hdf5({token_file(folder.file("t.h5"), 100, 50)}, "train");
  EXPECT_EQ(error_of([&] {
              (void)make_loader(*set, loader_options({{"context", "100"}}), {});
            }).fault(),
            Fault::config);
  const auto loader =
      make_loader(*set, loader_options({{"context", "8"}, {"classes", "20"}}), {.train = false});
  const auto error = error_of([&] {
    for (int i = 0; i < 10; ++i) (void)loader->next();
  });
  EXPECT_EQ(error.fault(), Fault::data);
  EXPECT_TRUE(mentions(error, "token 20") && mentions(error, "vocabulary of 20")) << error.what();
}

}  // namespace
}  // namespace lockstep::data
