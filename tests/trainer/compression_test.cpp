// Whole runs with compressed gradients: every compressor trains over every schedule, a resumed run repeats
// the original bit for bit, another number of ranks goes on, bad numbers are skipped, and what cannot fit is
// refused by name.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/allreduce/schedule.h"
#include "comm/compress/compressor.h"
#include "comm/worlds.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

Overrides overrides_for(const std::string& compressor, const Overrides& more = {}) {
  Overrides all{"compress.name=" + compressor, "compress.min_elements=16", "compress.sample_every=2"};
  if (compressor == "onebit_adam") {
    all.insert(all.end(),
               {"optimizer.name=onebit_adam", "optimizer.onebit_adam.freeze_steps=3", "rate.peak=0.002"});
  }
  if (compressor == "dgc") all.insert(all.end(), {"compress.dgc.warmup_steps=4", "compress.dgc.density=0.1"});
  if (compressor == "powersgd")
    all.insert(all.end(), {"compress.powersgd.rank=1", "compress.powersgd.min_ratio=1"});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// A run planned for `steps`, stopped by a signal after `stop_after` when that is not 0.
Outcome run(const std::string& data, const std::string& directory, const Overrides& overrides, int stop_after,
            bool resume, int ranks) {
  fs::create_directories(directory);
  const Config config = tiny_config(data, "images", overrides);
  std::atomic<int> asked{0};
  TrainingOptions options{.run_directory = directory, .resume = resume, .asked_to_stop = nullptr};
  if (stop_after > 0) {
    options.asked_to_stop = [&, ranks]() -> std::string {
      return ++asked > stop_after * ranks ? "SIGUSR1" : "";
    };
  }
  return run_tiny(config, ranks, options);
}

class EveryCompressor : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { write_tiny_images(scratch_.path() + "/images.h5"); }
  Outcome train(const std::string& name, const Overrides& overrides, int stop_after, bool resume, int ranks) {
    return run(scratch_.path(), scratch_.path() + "/" + name, overrides, stop_after, resume, ranks);
  }
  ScratchDirectory scratch_;
};

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& row : comm::compressors().rows()) {
    if (row.name != "none" && row.name != "auto") names.emplace_back(row.name);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(Table, EveryCompressor, testing::ValuesIn(names()),
                         [](const auto& each) { return each.param; });

TEST_P(EveryCompressor, trains_over_every_schedule_at_1_to_4_ranks) {
  const Overrides one = overrides_for(GetParam(), {"train.steps=1", "eval.microbatches=1"});
  const float start = train("start", one, 0, false, 1).last_loss;
  for (const auto& row : comm::schedules().rows()) {
    if (row.name == "auto") continue;
    for (int ranks : {1, 2, 3, 4}) {
      const Overrides some =
          overrides_for(GetParam(), {"train.steps=9", "eval.microbatches=1", "batch.global=24",
                                     "allreduce.name=" + std::string(row.name)});
      const std::string name = std::string(row.name) + std::to_string(ranks);
      const Outcome outcome = train(name, some, 0, false, ranks);
      EXPECT_LT(outcome.last_loss, 1.1f * start) << row.name << " at " << ranks << " ranks";
    }
  }
}

TEST_P(EveryCompressor, interrupted_and_resumed_equals_uninterrupted) {
  const Overrides overrides =
      overrides_for(GetParam(), {"rate_shape.name=cosine", "exchange.first_bucket_mib=0.0005"});
  const Outcome whole = train("whole", overrides, 0, false, 2);
  const Outcome part = train("part", overrides, 2, false, 2);
  EXPECT_EQ(part.exit_code, 75);
  EXPECT_NE(part.end.parameter_hash, whole.end.parameter_hash);
  const Outcome rest = train("part", overrides, 0, true, 2);
  EXPECT_EQ(rest.end.parameter_hash, whole.end.parameter_hash);
  EXPECT_EQ(rest.last_loss, whole.last_loss);
}

TEST_P(EveryCompressor, saved_at_4_ranks_goes_on_at_2_and_3) {
  const Overrides overrides = overrides_for(GetParam(), {"batch.global=24"});
  for (int ranks : {2, 3}) {
    const std::string name = "to" + std::to_string(ranks);
    EXPECT_EQ(train(name, overrides, 2, false, 4).exit_code, 75);
    const Outcome rest = train(name, overrides, 0, true, ranks);
    EXPECT_EQ(rest.exit_code, 0);
    EXPECT_TRUE(std::isfinite(rest.last_loss));
  }
}

// ---- the negative control of resuming: without its residuals a run ends elsewhere

TEST(CompressedResume, residuals_matter) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Overrides overrides = overrides_for("ef_sign");
  const Outcome whole = run(scratch.path(), scratch.path() + "/whole", overrides, 0, false, 2);
  static_cast<void>(run(scratch.path(), scratch.path() + "/part", overrides, 2, false, 2));
  Overrides forgetful = overrides;
  forgetful.emplace_back("compress.ef_sign.feedback=false");
  const Outcome rest = run(scratch.path(), scratch.path() + "/part", forgetful, 0, true, 2);
  EXPECT_NE(rest.end.parameter_hash, whole.end.parameter_hash);
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
      return run(scratch.path(), directory, overrides, stop_after, resume, ranks);
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
      return run(scratch.path(), ScratchDirectory().path(), overrides, 0, false, 2).last_loss;
    };
    const float exact = loss("none", "0", "true");
    EXPECT_NEAR(loss("sign_vote", "100", "true"), exact, 1e-4f * exact);
    EXPECT_GT(std::abs(loss("sign_vote", "1", "true") - exact), 1e-3f * exact);
    EXPECT_NE(loss("sign_vote", "1", "true"), loss("sign_vote", "1", "false"));
  }
}

// ---- dgc is momentum SGD when everything is sent and nothing masked

TEST(CompressedTraining, dgc_that_sends_all_and_masks_nothing_is_momentum_sgd) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  for (const char* nesterov : {"true", "false"}) {
    const Overrides base{"optimizer.sgd.nesterov=" + std::string(nesterov), "optimizer.sgd.weight_decay=0.01",
                         "compress.min_elements=16"};
    Overrides all = base;
    all.insert(all.end(), {"compress.name=dgc", "compress.dgc.density=1", "compress.dgc.mask=false"});
    Overrides masked = base;
    masked.insert(masked.end(), {"compress.name=dgc", "compress.dgc.density=1"});
    const Outcome exact = run(scratch.path(), scratch.path() + "/e" + nesterov, base, 0, false, 2);
    const Outcome same = run(scratch.path(), scratch.path() + "/s" + nesterov, all, 0, false, 2);
    const Outcome other = run(scratch.path(), scratch.path() + "/m" + nesterov, masked, 0, false, 2);
    EXPECT_NEAR(same.last_loss, exact.last_loss, 1e-4f * exact.last_loss);
    EXPECT_GT(std::abs(other.last_loss - exact.last_loss),
              1e-3f * exact.last_loss);  // masking forgets momentum
  }
}

TEST(CompressedTraining, a_bad_sample_is_skipped_on_all_ranks) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5", 13);
  for (const char* name : {"int8", "topk", "sign_vote"}) {
    const Overrides skip = overrides_for(name, {"train.on_nonfinite=skip", "train.steps=12"});
    const Outcome outcome = run(scratch.path(), scratch.path() + "/" + name, skip, 0, false, 2);
    EXPECT_TRUE(std::isfinite(outcome.last_loss)) << name;
    EXPECT_EQ(outcome.end.steps, 12) << name;
  }
}

// ---- the choice by measurement

TEST(CompressedTraining, auto_chooses_says_why_and_a_resumed_run_keeps_the_choice) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const std::string directory = scratch.path() + "/run";
  const Overrides automatic{"compress.name=auto", "compress.min_elements=16"};
  EXPECT_EQ(run(scratch.path(), directory, automatic, 2, false, 2).exit_code, 75);
  const StateMap saved = read_shared_state(directory);
  const std::string chosen = StateReader(saved).text("compressor");
  EXPECT_TRUE(chosen == "none" || chosen == "bf16" || chosen == "int8") << chosen;
  EXPECT_EQ(run(scratch.path(), directory, automatic, 0, true, 2).exit_code, 0);
  const StateMap after = read_shared_state(directory);
  EXPECT_EQ(StateReader(after).text("compressor"), chosen);
}

// ---- an exact start

TEST(CompressedTraining, a_resumed_run_keeps_its_exact_start_when_steps_are_added) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const std::string directory = scratch.path() + "/run";
  const auto exact_steps = [&](const std::string& compressor, const Overrides& more, bool resume) {
    static_cast<void>(run(scratch.path(), directory, overrides_for(compressor, more), 0, resume, 2));
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
    return run(scratch.path(), scratch.path() + "/" + compressor + exact_steps, overrides, 0, false, 2).end;
  };
  const std::uint64_t exact = end("none", "0").parameter_hash;
  EXPECT_EQ(end("powersgd", "100").parameter_hash, exact);
  EXPECT_NE(end("powersgd", "-1").parameter_hash, exact);
}

// ---- what a run tells

TEST(CompressedTraining, metrics_tell_of_every_bucket) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Config config = tiny_config(scratch.path(), "images", overrides_for("int4", {"run.log_every=1"}));
  comm::run_ranks_as_threads(2, [&](comm::World& world) {
    const auto log = world.rank() == 0 ? make_run_log(scratch.path(), 1) : make_silent_log();
    static_cast<void>(train(config, world, *log, {.run_directory = scratch.path()}));
  });
  std::ifstream file(scratch.path() + "/metrics.jsonl");
  int sampled = 0;
  for (std::string line; std::getline(file, line);) {
    const auto step = nlohmann::json::parse(line);
    if (step.value("event", "") != "step") continue;
    ASSERT_FALSE(step.at("compression").empty());
    for (const auto& bucket : step.at("compression")) {
      EXPECT_EQ(bucket.at("compressor"), "int4");
      EXPECT_GT(bucket.at("wire_bytes"), 0);
      EXPECT_GT(bucket.at("ratio"), 1);
      EXPECT_GE(bucket.at("encode_ms"), 0);
      EXPECT_GE(bucket.at("exposed_ms"), 0);
      if (!bucket.contains("cosine")) continue;
      ++sampled;
      EXPECT_GT(bucket.at("cosine"), 0.5);
      EXPECT_GT(bucket.at("relative_error"), 0);
      EXPECT_GT(bucket.at("residual_norm"), 0);
    }
  }
  EXPECT_EQ(sampled, 3);  // of 6 steps, every second
}

// ---- refusals

void expect_refused(const Overrides& overrides, const std::string& word) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  try {
    static_cast<void>(run(scratch.path(), scratch.path() + "/run", overrides, 0, false, 1));
    FAIL() << "accepted " << word;
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(CompressedTraining, what_does_not_fit_is_refused_by_name) {
  expect_refused({"train.reproducible=true", "compress.name=int8"}, "'int8'");
  expect_refused({"train.reproducible=true", "compress.rules=[\"*=bf16\"]"}, "compress.name");
  expect_refused({"compress.name=dgc", "optimizer.name=adamw"}, "'dgc'");
  expect_refused({"compress.name=onebit_adam"}, "1-bit Adam");
  expect_refused({"optimizer.name=onebit_adam"}, "1-bit Adam");
  expect_refused({"compress.rules=[\"*\"]"}, "'*'");
  expect_refused({"compress.rules=[\"*=auto\"]"}, "auto");
  expect_refused({"train.reproducible=true", "compress.name=auto"}, "'auto'");
}

}  // namespace
}  // namespace lockstep::trainer
