// Whole runs with compressed gradients: every compressor trains over every schedule, a resumed run repeats
// the original bit for bit, another number of ranks goes on, bad numbers are skipped, and what cannot fit is
// refused by name.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/allreduce/schedule.h"
#include "comm/compress/compressor.h"
#include "comm/worlds.h"
#include "tests/trainer/compressed_run.h"
#include "trainer/checkpoint.h"

namespace lockstep::trainer {
namespace {

class EveryCompressor : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { write_tiny_images(scratch_.path() + "/images.h5"); }
  Outcome train(const std::string& name, const Overrides& overrides, int stop_after, bool resume, int ranks) {
    return run_part(scratch_.path(), scratch_.path() + "/" + name, overrides, stop_after, resume, ranks);
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
  const Outcome whole = run_part(scratch.path(), scratch.path() + "/whole", overrides, 0, false, 2);
  static_cast<void>(run_part(scratch.path(), scratch.path() + "/part", overrides, 2, false, 2));
  Overrides forgetful = overrides;
  forgetful.emplace_back("compress.ef_sign.feedback=false");
  const Outcome rest = run_part(scratch.path(), scratch.path() + "/part", forgetful, 0, true, 2);
  EXPECT_NE(rest.end.parameter_hash, whole.end.parameter_hash);
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
    const Outcome exact = run_part(scratch.path(), scratch.path() + "/e" + nesterov, base, 0, false, 2);
    const Outcome same = run_part(scratch.path(), scratch.path() + "/s" + nesterov, all, 0, false, 2);
    const Outcome other = run_part(scratch.path(), scratch.path() + "/m" + nesterov, masked, 0, false, 2);
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
    const Outcome outcome = run_part(scratch.path(), scratch.path() + "/" + name, skip, 0, false, 2);
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
  EXPECT_EQ(run_part(scratch.path(), directory, automatic, 2, false, 2).exit_code, 75);
  const StateMap saved = read_shared_state(directory);
  const std::string chosen = StateReader(saved).text("compressor");
  EXPECT_TRUE(chosen == "none" || chosen == "bf16" || chosen == "int8") << chosen;
  EXPECT_EQ(run_part(scratch.path(), directory, automatic, 0, true, 2).exit_code, 0);
  const StateMap after = read_shared_state(directory);
  EXPECT_EQ(StateReader(after).text("compressor"), chosen);
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
    static_cast<void>(run_part(scratch.path(), scratch.path() + "/run", overrides, 0, false, 1));
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
