// Whole runs: data parallelism is a bigger batch, evaluation is exact, bad numbers stop or skip all ranks
// together.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

Outcome train_images(const Overrides& overrides, int ranks, int poisoned = -1) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5", poisoned);
  return run_tiny(tiny_config(scratch.path(), "images", overrides), ranks, {.run_directory = scratch.path()});
}

TEST(Training, loss_falls) {
  const Outcome early = train_images({"train.steps=1"}, 2);
  const Outcome late = train_images({"train.steps=60"}, 2);
  EXPECT_LT(late.last_loss, 0.5f * early.last_loss);
  EXPECT_GT(late.evaluation.values[0].second, 0.6);
}

TEST(Training, ranks_times_batch_equals_one_big_batch_to_rounding) {
  const Outcome one = train_images({}, 1);
  for (int ranks : {2, 3, 4}) {
    const Outcome many = train_images({}, ranks);
    EXPECT_NEAR(many.last_loss, one.last_loss, 1e-4f * std::abs(one.last_loss)) << ranks << " ranks";
  }
}

TEST(Training, every_schedule_trains_alike) {
  const Outcome reference = train_images({}, 3);
  for (const char* schedule : {"library", "ring", "recursive_doubling", "double_tree"}) {
    const Outcome other = train_images({std::string("allreduce.name=") + schedule}, 3);
    EXPECT_NEAR(other.last_loss, reference.last_loss, 1e-4f * std::abs(reference.last_loss)) << schedule;
  }
}

TEST(Training, evaluation_counts_every_sample_once_for_any_ranks_and_microbatch) {
  for (int ranks : {1, 2, 3, 4}) {
    const Outcome outcome = train_images({"train.steps=1", "batch.microbatch=4", "train.reproducible=true"},
                                         ranks == 3 ? 1 : ranks);
    double samples = 0;
    for (const auto& [name, value] : outcome.evaluation.values) samples = name == "samples" ? value : samples;
    EXPECT_EQ(samples, 22) << ranks << " ranks";
  }
}

TEST(Training, best_evaluation_keeps_its_checkpoint) {
  const Outcome outcome = train_images({"checkpoint.best=true", "eval.every_steps=2", "train.steps=4"}, 2);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.end.steps, 4);
}

TEST(NonFinite, stop_names_rank_and_sample) {
  try {
    static_cast<void>(train_images({}, 2, 13));
    FAIL() << "trained on a NaN";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged);
    const std::string what = error.what();
    EXPECT_NE(what.find("rank "), std::string::npos) << what;
    EXPECT_NE(what.find("13"), std::string::npos) << what;
    EXPECT_NE(what.find("slot"), std::string::npos) << what;
  }
}

TEST(NonFinite, skip_goes_on_and_parameters_stay_finite_and_equal) {
  const Outcome outcome = train_images({"train.on_nonfinite=skip"}, 2, 13);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(std::isfinite(outcome.last_loss));
}

TEST(NonFinite, too_many_skips_count_as_diverged) {
  try {
    static_cast<void>(
        train_images({"train.on_nonfinite=skip", "train.max_skips=1", "train.steps=24"}, 1, 13));
    FAIL() << "skipped for ever";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged);
  }
}

TEST(Training, more_ranks_than_microbatches_is_refused_with_a_number_that_fits) {
  try {
    static_cast<void>(train_images({"batch.global=4"}, 3));
    FAIL() << "a rank without work";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(error.hint().find("at most 2 ranks"), std::string::npos) << error.hint();
  }
}

}  // namespace
}  // namespace lockstep::trainer
