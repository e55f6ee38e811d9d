#include "trainer/batch_plan.h"

#include <gtest/gtest.h>

#include "trainer/schema.h"

namespace lockstep::trainer {
namespace {

BatchPlan plan(const std::vector<std::string>& settings, std::int64_t samples, int rank, int ranks) {
  const Config config = Config::parse("model: mlp\n", "test", settings, config_schema());
  return plan_batches(config.section("batch"), config.section("train"), samples, rank, ranks);
}

std::string refusal(const std::vector<std::string>& settings, std::int64_t samples, int ranks) {
  try {
    static_cast<void>(plan(settings, samples, 0, ranks));
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "accepted";
}

TEST(BatchPlan, global_is_shared_out_over_ranks) {
  const BatchPlan got = plan({"batch.global=64", "train.steps=10"}, 1000, 1, 4);
  EXPECT_EQ(got.microbatch, 16);
  EXPECT_EQ(got.shard.first, 1);
  EXPECT_EQ(got.shard.count, 1);
  EXPECT_EQ(got.shard.per_step, 4);
  EXPECT_EQ(got.steps_per_epoch, 15);
}

TEST(BatchPlan, per_rank_grows_with_ranks) {
  EXPECT_EQ(plan({"batch.per_rank=8", "train.steps=1"}, 1000, 0, 3).global, 24);
}

TEST(BatchPlan, ragged_microbatches_cover_the_batch) {
  std::int64_t covered = 0;
  for (int rank = 0; rank < 3; ++rank) {
    const BatchPlan got = plan({"batch.global=64", "batch.microbatch=8", "train.steps=1"}, 1000, rank, 3);
    EXPECT_EQ(got.shard.first, covered);
    covered += got.shard.count;
  }
  EXPECT_EQ(covered, 8);
}

TEST(BatchPlan, epochs_become_steps) {
  EXPECT_EQ(plan({"batch.global=100", "train.epochs=2.5"}, 1000, 0, 1).steps, 25);
}

TEST(BatchPlan, epochs_round_to_the_nearest_step) {
  for (const auto& [epochs, steps] : std::vector<std::pair<std::string, std::int64_t>>{
           {"0.05", 1}, {"0.14", 1}, {"0.16", 2}, {"1", 10}, {"1e6", 10'000'000}})
    EXPECT_EQ(plan({"batch.global=100", "train.epochs=" + epochs}, 1000, 0, 1).steps, steps) << epochs;
}

TEST(BatchPlan, epochs_of_no_step_or_of_too_many_are_refused) {
  for (const auto& [epochs, says] :
       std::vector<std::pair<std::string, std::string>>{{"0.04", "at 10 steps an epoch that is not one step"},
                                                        {"1e-300", "not one step"},
                                                        {"1e16", "more steps"},
                                                        {"1e300", "more steps"}}) {
    const std::string got = refusal({"batch.global=100", "train.epochs=" + epochs}, 1000, 1);
    EXPECT_NE(got.find(says), std::string::npos) << got;
    EXPECT_NE(got.find("train.epochs (--set)"), std::string::npos) << got;
  }
}

TEST(BatchPlan, each_bad_combination_is_named) {
  EXPECT_NE(refusal({"train.steps=1"}, 100, 1).find("batch.global"), std::string::npos);
  EXPECT_NE(refusal({"batch.global=10", "batch.per_rank=4", "train.steps=1"}, 100, 2).find("per_rank"),
            std::string::npos);
  EXPECT_NE(refusal({"batch.global=10", "train.steps=1"}, 100, 3).find("3 ranks"), std::string::npos);
  EXPECT_NE(
      refusal({"batch.global=10", "batch.microbatch=4", "train.steps=1"}, 100, 1).find("microbatches of 4"),
      std::string::npos);
  EXPECT_NE(refusal({"batch.global=10", "train.steps=1"}, 5, 1).find("5 samples"), std::string::npos);
  EXPECT_NE(refusal({"batch.global=10"}, 100, 1).find("train.steps"), std::string::npos);
  EXPECT_NE(refusal({"batch.global=10", "train.steps=1", "train.epochs=1"}, 100, 1).find("train.epochs"),
            std::string::npos);
  EXPECT_EQ(refusal({"batch.global=10", "train.steps=1"}, 100, 2), "accepted");
}

}  // namespace
}  // namespace lockstep::trainer
