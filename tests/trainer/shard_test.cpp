// optimizer.shard: parts of whole slots that together are all; the bits of training without it, at any number
// of ranks, with every optimizer; a checkpoint of one number of ranks goes on at another.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "tests/trainer/tiny_run.h"
#include "trainer/optim/optimizer.h"
#include "trainer/state_file.h"

namespace lockstep::trainer {
namespace {

SlotLayout layout_of_sizes(const std::vector<std::int64_t>& sizes) {
  std::vector<SlotSpec> specs;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    specs.push_back({.name = "slot" + std::to_string(i), .shape = Shape{sizes[i]}});
  return SlotLayout(std::move(specs));
}

TEST(Parts, are_runs_of_whole_slots_that_cover_the_array_near_their_shares) {
  for (const std::vector<std::int64_t>& sizes : std::vector<std::vector<std::int64_t>>{
           {}, {1}, {100, 7, 64, 1000, 3}, {5000, 1, 1, 1}, {64, 64, 64, 64}}) {
    const SlotLayout layout = layout_of_sizes(sizes);
    for (int ranks : {1, 2, 3, 4, 17}) {
      const auto parts = cut_parts(layout, ranks);
      ASSERT_EQ(static_cast<int>(parts.size()), ranks);
      std::size_t slot = 0;
      std::int64_t element = 0;
      for (const Part& part : parts) {
        EXPECT_EQ(part.first_slot, slot);
        EXPECT_EQ(part.first, element);
        EXPECT_EQ(layout_of(part, layout).stored_count(), part.count);
        slot = part.last_slot;
        element += part.count;
      }
      EXPECT_EQ(slot, sizes.size());
      EXPECT_EQ(element, layout.stored_count());
    }
  }
  EXPECT_EQ(largest_part(layout_of_sizes({64, 64, 64, 64}), 4), 64);
  EXPECT_EQ(largest_part(layout_of_sizes({640, 64, 64, 64}), 2), 640);
}

Overrides join(Overrides first, const Overrides& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

class Sharded : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    write_tiny_images(scratch_.path() + "/images.h5");
    write_tiny_tokens(scratch_.path() + "/tokens.h5");
  }
  Hashes train(const std::string& kind, const Overrides& overrides, int ranks, bool resume = false,
               const std::string& directory = "run") {
    const std::string run = scratch_.path() + "/" + directory;
    std::filesystem::create_directories(run);
    return hashes_of(run_tiny(tiny_config(scratch_.path(), kind, overrides), ranks,
                              {.run_directory = run, .resume = resume}));
  }
  [[nodiscard]] static Overrides optimizer() {
    Overrides chosen{"optimizer.name=" + std::string(GetParam())};
    if (GetParam() == "onebit_adam") chosen.emplace_back("compress.name=onebit_adam");
    return chosen;
  }
  ScratchDirectory scratch_;
};
std::vector<std::string_view> optimizer_names() {
  std::vector<std::string_view> names;
  for (const auto& row : optimizers().rows()) names.push_back(row.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Table, Sharded, testing::ValuesIn(optimizer_names()),
                         [](const auto& each) { return std::string(each.param); });

const Overrides kShard{"optimizer.shard=true"};

TEST_P(Sharded, trains_the_bits_of_the_whole_optimizer) {
  for (int ranks : {1, 2, 3, 4}) {
    for (const char* kind : {"images", "tokens"}) {
      const Overrides base = join(
          optimizer(), {"batch.global=12", "batch.microbatch=1", "train.ema=0.5", "train.clip_norm=0.1"});
      EXPECT_EQ(train(kind, join(base, kShard), ranks, false, "sharded"),
                train(kind, base, ranks, false, "whole"))
          << ranks << " ranks, " << kind;
    }
  }
}

TEST_P(Sharded, resumes_bit_for_bit_and_from_and_to_a_whole_optimizer) {
  const Overrides base = join(optimizer(), {"train.steps=4"});
  const Hashes through = train("tokens", base, 2, false, "through");
  const Overrides half = join(base, {"train.steps=2"});
  EXPECT_NE(train("tokens", join(half, kShard), 2, false, "a"), through);
  EXPECT_EQ(train("tokens", join(base, kShard), 2, true, "a"), through);
  static_cast<void>(train("tokens", half, 2, false, "b"));
  EXPECT_EQ(train("tokens", join(base, kShard), 2, true, "b"), through);
  static_cast<void>(train("tokens", join(half, kShard), 2, false, "c"));
  EXPECT_EQ(train("tokens", base, 2, true, "c"), through);
}

TEST_P(Sharded, resumes_at_4_then_2_then_1_ranks_in_reproducible_mode) {
  if (GetParam() == "onebit_adam") return;  // compression is refused there
  const Overrides base =
      join(optimizer(), {"train.reproducible=true", "train.steps=6", "train.clip_norm=0.1"});
  const Hashes alone = train("tokens", base, 1, false, "alone");
  const Overrides sharded = join(base, kShard);
  static_cast<void>(train("tokens", join(sharded, {"train.steps=2"}), 4));
  static_cast<void>(train("tokens", join(sharded, {"train.steps=4"}), 2, true));
  EXPECT_EQ(train("tokens", sharded, 1, true), alone);
}

TEST_P(Sharded, resumes_at_4_then_2_then_3_ranks_as_the_whole_optimizer_does) {
  const auto chain = [&](const Overrides& more, const std::string& directory) {
    const Overrides base = join(join(optimizer(), {"batch.global=12", "batch.microbatch=1"}), more);
    static_cast<void>(train("tokens", join(base, {"train.steps=2"}), 4, false, directory));
    static_cast<void>(train("tokens", join(base, {"train.steps=4"}), 2, true, directory));
    return train("tokens", join(base, {"train.steps=6"}), 3, true, directory);
  };
  EXPECT_EQ(chain(kShard, "sharded"), chain({}, "whole"));
}

using ShardedAdam = Sharded;
INSTANTIATE_TEST_SUITE_P(One, ShardedAdam, testing::Values("adamw"));

TEST_P(ShardedAdam, every_rank_saves_its_own_slots_and_each_slot_once) {
  static_cast<void>(train("tokens", join(optimizer(), kShard), 3));
  const std::string place = scratch_.path() + "/run/checkpoints/latest/";
  EXPECT_FALSE(StateReader(read_state_file(place + "shared.h5")).scope("optimizer").any());
  std::set<std::string> seen;
  for (int rank = 0; rank < 3; ++rank) {
    const StateMap state = read_state_file(place + "rank-" + std::to_string(rank) + ".h5");
    int own = 0;
    for (const auto& [key, entry] : state.entries) {
      if (!key.starts_with("optimizer/")) continue;
      EXPECT_TRUE(seen.insert(key).second) << key;
      ++own;
    }
    EXPECT_GT(own, 0) << "rank " << rank;
  }
}

TEST_P(ShardedAdam, a_bad_step_is_skipped_as_without) {
  write_tiny_images(scratch_.path() + "/images.h5", 13);
  const Overrides base = join(optimizer(), {"train.on_nonfinite=skip"});
  EXPECT_EQ(train("images", join(base, kShard), 2, false, "a"), train("images", base, 2, false, "b"));
}

TEST_P(ShardedAdam, works_with_lossy_compression_and_recomputation) {
  const Overrides base = join(optimizer(), {"compress.name=int8", "compress.min_elements=16"});
  EXPECT_EQ(train("tokens", join(join(base, kShard), {"model.recompute=blocks"}), 3, false, "a"),
            train("tokens", base, 3, false, "b"));
}

TEST_P(ShardedAdam, plan_tells_what_a_rank_keeps) {
  const auto plan = [&](const Overrides& more) {
    return describe_plan(tiny_config(scratch_.path(), "tokens", join(optimizer(), more)), 2, true);
  };
  EXPECT_EQ(plan({}).find("sharded over"), std::string::npos);
  EXPECT_NE(plan(kShard).find("sharded over 2"), std::string::npos) << plan(kShard);
  EXPECT_NE(plan(kShard).find("updated values: rank 0 sends"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::trainer
