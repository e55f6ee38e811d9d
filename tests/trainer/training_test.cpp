// Whole runs: data parallelism is a bigger batch, evaluation is exact, bad numbers stop or skip all ranks
// together.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/trainer/tiny_run.h"
#include "trainer/evaluate.h"

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

/// Ranks would meet in the norms a different number of times, and wait for each other until the deadline.
TEST(Training, synchronised_norms_want_equal_shares_of_microbatches) {
  const Overrides synchronised{"model.cnn.synchronised_norm=true", "train.steps=1"};
  EXPECT_EQ(train_images(synchronised, 2).exit_code, 0);
  EXPECT_EQ(train_images({"model.name=mlp", "train.steps=1"}, 3).exit_code, 0) << "has no norms";
  try {
    static_cast<void>(train_images(synchronised, 3));  // of 8
    FAIL() << "trained";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config) << error.what();
    EXPECT_NE(std::string(error.what()).find("model.cnn.synchronised_norm"), std::string::npos);
  }
}

/// A rate that is zero in f32: the weights stay as they were drawn.
const char* const kNoStep = "rate.peak=1e-60";

double figure(const Outcome& outcome, const std::string& wanted) {
  for (const auto& [name, value] : outcome.evaluation.values)
    if (name == wanted) return value;
  ADD_FAILURE() << "no " << wanted;
  return 0;
}

TEST(Training, evaluation_counts_every_sample_once_for_any_ranks_and_microbatch) {
  // 22 samples in microbatches of 1, 3, 5 and 16: the last one is ragged, or ranks are left without any.
  for (const int microbatch : {1, 3, 5, 16}) {
    const Overrides overrides{kNoStep, "train.steps=1", "batch.microbatch=" + std::to_string(microbatch),
                              "batch.global=" + std::to_string(microbatch * 4)};
    const Outcome alone = train_images(overrides, 1);
    EXPECT_EQ(figure(alone, "samples"), 22);
    for (const int ranks : {2, 3, 4}) {
      const Outcome many = train_images(overrides, ranks);
      EXPECT_EQ(figure(many, "samples"), 22) << ranks << " ranks, " << microbatch;
      EXPECT_EQ(figure(many, "correct"), figure(alone, "correct")) << ranks << " ranks, " << microbatch;
      EXPECT_NEAR(figure(many, "loss"), figure(alone, "loss"), 1e-6) << ranks << " ranks, " << microbatch;
    }
  }
}

TEST(Training, averaged_weights_are_judged_but_do_not_change_training) {
  const Outcome plain = train_images({}, 2);
  const Outcome averaged = train_images({"train.ema=0.9"}, 2);
  EXPECT_EQ(averaged.end.parameter_hash, plain.end.parameter_hash);
  EXPECT_NE(figure(averaged, "loss"), figure(plain, "loss"));
  // An average that forgets everything is the weights themselves.
  EXPECT_EQ(figure(train_images({"train.ema=1e-30"}, 2), "loss"), figure(plain, "loss"));
}

TEST(EvaluationShare, every_evaluated_sample_is_in_one_share_also_with_more_ranks_than_microbatches) {
  for (const std::int64_t samples : {1, 2, 7, 22, 97}) {
    for (const std::int64_t microbatch : {1, 3, 16}) {
      for (const std::int64_t limit : {0, 1, 2, 1000}) {
        EvaluationOptions options;
        options.microbatch = microbatch;
        options.microbatches = limit;
        const std::int64_t wanted = evaluated_samples(samples, options);
        EXPECT_EQ(wanted, limit == 0 ? samples : std::min(samples, limit * microbatch));
        for (const int ranks : {1, 2, 3, 5, 8}) {
          std::vector<int> seen(static_cast<std::size_t>(wanted), 0);
          for (int rank = 0; rank < ranks; ++rank) {
            const data::Shard share = evaluation_share(wanted, microbatch, rank, ranks);
            EXPECT_GE(share.count, 1) << "every rank calls the metric";
            const std::int64_t end = std::min(wanted, (share.first + share.count) * microbatch);
            for (std::int64_t i = share.first * microbatch; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
          }
          EXPECT_EQ(std::ranges::count(seen, 1), wanted)
              << samples << " in microbatches of " << microbatch << ", " << ranks << " ranks";
        }
      }
    }
  }
}

TEST(Training, unshuffled_data_repeats_its_order_whatever_the_seed_of_the_order) {
  // Without dropout nothing is random after the start; so one epoch twice is the same work.
  const Overrides still{"data.shuffle=false", "model.cnn.dropout=0", kNoStep, "train.steps=1"};
  Overrides second = still;
  second.back() = "train.steps=7";  // step 6 begins the second epoch of six steps
  EXPECT_EQ(train_images(second, 1).last_loss, train_images(still, 1).last_loss);
  second[0] = "data.shuffle=true";
  EXPECT_NE(train_images(second, 1).last_loss, train_images(still, 1).last_loss);
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

/// Sample 13 is in the first step of every epoch of six.
Outcome train_poisoned(std::int64_t steps, std::int64_t max_skips, int ranks) {
  return train_images(
      {"train.on_nonfinite=skip", "data.shuffle=false", "train.steps=" + std::to_string(steps),
       "train.max_skips=" + std::to_string(max_skips)},
      ranks, 13);
}

TEST(NonFinite, skipped_step_leaves_the_weights_as_they_were) {
  for (const int ranks : {1, 2, 3}) {
    const Outcome untouched = train_images({kNoStep, "train.steps=1"}, ranks);
    const Outcome skipped = train_poisoned(1, 10, ranks);
    EXPECT_EQ(skipped.end.parameter_hash, untouched.end.parameter_hash) << ranks << " ranks";
    EXPECT_EQ(skipped.end.steps, 1);
    EXPECT_NE(train_poisoned(2, 10, ranks).end.parameter_hash, untouched.end.parameter_hash);
  }
}

TEST(NonFinite, as_many_skips_as_allowed_are_borne_and_one_more_is_divergence) {
  EXPECT_EQ(train_poisoned(6, 1, 2).exit_code, 0);
  EXPECT_EQ(train_poisoned(7, 2, 2).exit_code, 0);
  try {
    static_cast<void>(train_poisoned(7, 1, 2));
    FAIL() << "skipped twice where once is allowed";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged);
    EXPECT_NE(error.hint().find("train.max_skips"), std::string::npos) << error.hint();
    EXPECT_NE(std::string(error.what()).find("step 6"), std::string::npos) << error.what();
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
