// How compressed trainings start: exactly for a while, and with votes on the optimizer's momentum thereafter.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/worlds.h"
#include "tests/trainer/compressed_run.h"
#include "trainer/checkpoint.h"

namespace lockstep::trainer {
namespace {

// ---- an exact start

TEST(CompressedTraining, a_resumed_run_keeps_its_exact_start_when_steps_are_added) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const std::string directory = scratch.path() + "/run";
  const auto exact_steps = [&](const std::string& compressor, const Overrides& more, bool resume) {
    static_cast<void>(run_part(scratch.path(), directory, overrides_for(compressor, more), 0, resume, 2));
    const StateMap saved = read_shared_state(directory);
    return StateReader(saved).integer("exact_steps");
  };
  EXPECT_EQ(exact_steps("topk", {"train.steps=10"}, false), 2);
  EXPECT_EQ(exact_steps("topk", {"train.steps=20"}, true), 2);
  EXPECT_EQ(exact_steps("topk", {"train.steps=21", "compress.exact_steps=3"}, true), 3);
  EXPECT_EQ(exact_steps("ef_sign", {"train.steps=25"}, true), 5) << "another compressor starts anew";
}

TEST(CompressedTraining, an_exact_start_of_all_steps_is_training_without_compression) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const auto end = [&](const std::string& compressor, const std::string& exact_steps) {
    const Overrides overrides = overrides_for(compressor, {"compress.exact_steps=" + exact_steps});
    return run_part(scratch.path(), scratch.path() + "/" + compressor + exact_steps, overrides, 0, false, 2)
        .end;
  };
  const std::uint64_t exact = end("none", "0").parameter_hash;
  EXPECT_EQ(end("powersgd", "100").parameter_hash, exact);
  EXPECT_NE(end("powersgd", "-1").parameter_hash, exact);
}

/// What a run tells the terminal.
std::string told(const Overrides& overrides) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Config config = tiny_config(scratch.path(), "images", overrides);
  testing::internal::CaptureStdout();
  comm::run_ranks_as_threads(1, [&](comm::World& world) {
    const auto log = make_run_log(scratch.path(), 1);
    static_cast<void>(train(config, world, *log, {.run_directory = scratch.path()}));
  });
  return testing::internal::GetCapturedStdout();
}

TEST(CompressedTraining, tells_how_many_steps_are_exact_and_what_fits_badly) {
  const auto has = [](const std::string& text, const char* words) { return text.find(words) != text.npos; };
  const std::string plain = told(overrides_for("ef_sign", {"train.steps=10"}));
  EXPECT_TRUE(has(plain, "the first 2 steps are summed exactly")) << plain;
  EXPECT_FALSE(has(plain, "badly")) << plain;
  const std::string adam = told(overrides_for("ef_sign", {"optimizer.name=adamw"}));
  EXPECT_TRUE(has(adam, "ever more rarely")) << adam;
  EXPECT_FALSE(has(adam, "badly")) << adam;
  const std::string lamb = told(overrides_for("ef_sign", {"optimizer.name=lamb"}));
  EXPECT_TRUE(has(lamb, "ef_sign fits lamb badly")) << lamb;
  const std::string random = told(overrides_for("random_k", {"optimizer.name=adamw"}));
  EXPECT_FALSE(has(random, "badly")) << random;
  const std::string fed =
      told(overrides_for("random_k", {"optimizer.name=adamw", "compress.random_k.adam_feedback=true"}));
  EXPECT_TRUE(has(fed, "random_k fits adamw badly")) << fed;
  const std::string dense = told(overrides_for("int8", {"optimizer.name=adamw"}));
  EXPECT_FALSE(has(dense, "exactly") || has(dense, "badly")) << dense;
}

// ---- votes on momentum

TEST(CompressedResume, votes_go_on_with_every_optimizer) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  for (const char* optimizer : {"adamw", "lamb", "sgd"}) {
    const std::string chosen = "optimizer.name=" + std::string(optimizer);
    const Overrides overrides = overrides_for("sign_vote", {chosen, "train.steps=10", "batch.global=24"});
    const auto part = [&](const std::string& name, int stop_after, bool resume, int ranks) {
      const std::string directory = scratch.path() + "/" + optimizer + name;
      return run_part(scratch.path(), directory, overrides, stop_after, resume, ranks);
    };
    const Outcome whole = part("whole", 0, false, 2);
    for (const int stop_after : {1, 4}) {  // before and after the exact start ends
      EXPECT_EQ(part(std::to_string(stop_after), stop_after, false, 2).exit_code, 75);
      EXPECT_EQ(part(std::to_string(stop_after), 0, true, 2).end.parameter_hash, whole.end.parameter_hash);
    }
    EXPECT_EQ(part("four", 4, false, 4).exit_code, 75);
    EXPECT_TRUE(std::isfinite(part("four", 0, true, 3).last_loss)) << optimizer;
  }
}

TEST(CompressedTraining, a_vote_that_is_exact_throughout_is_the_optimizer_with_its_momentum) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const std::vector<Overrides> optimizers{{"optimizer.sgd.weight_decay=0.01"},
                                          {"optimizer.sgd.weight_decay=0.01", "optimizer.sgd.nesterov=true"},
                                          {"optimizer.name=adamw", "rate.peak=0.01"}};
  for (const Overrides& optimizer : optimizers) {
    const auto loss = [&](const char* compressor, const std::string& exact_steps, const char* momentum) {
      Overrides overrides = overrides_for(compressor, optimizer);
      overrides.insert(overrides.end(), {"compress.exact_steps=" + exact_steps,
                                         "compress.sign_vote.momentum=" + std::string(momentum)});
      return run_part(scratch.path(), ScratchDirectory().path(), overrides, 0, false, 2).last_loss;
    };
    const float exact = loss("none", "0", "true");
    EXPECT_NEAR(loss("sign_vote", "100", "true"), exact, 1e-4f * exact);
    EXPECT_GT(std::abs(loss("sign_vote", "1", "true") - exact), 1e-3f * exact);
    EXPECT_NE(loss("sign_vote", "1", "true"), loss("sign_vote", "1", "false"));
  }
}

}  // namespace
}  // namespace lockstep::trainer
