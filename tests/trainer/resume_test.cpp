// A resumed run repeats the original bit for bit; damage and signals lose nothing.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/trainer/tiny_run.h"
#include "trainer/optim/optimizer.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

class Resume : public testing::TestWithParam<std::string> {};

TEST_P(Resume, interrupted_and_resumed_equals_uninterrupted) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  Overrides overrides{"optimizer.name=" + GetParam(), "train.ema=0.5", "rate_shape.name=cosine"};
  if (GetParam() == "onebit_adam") {
    overrides.insert(overrides.end(), {"compress.name=onebit_adam", "optimizer.onebit_adam.freeze_steps=3"});
  }
  const Outcome whole = run_part(scratch.path(), scratch.path() + "/whole", overrides, 0, false);
  const Outcome part = run_part(scratch.path(), scratch.path() + "/part", overrides, 2, false);
  EXPECT_EQ(part.exit_code, 75);
  EXPECT_GT(part.end.steps, 1);
  EXPECT_LT(part.end.steps, 6);
  EXPECT_NE(part.end.parameter_hash, whole.end.parameter_hash);
  const Outcome rest = run_part(scratch.path(), scratch.path() + "/part", overrides, 0, true);
  EXPECT_EQ(rest.exit_code, 0);
  EXPECT_EQ(rest.end.parameter_hash, whole.end.parameter_hash);
  EXPECT_EQ(rest.end.state_hash, whole.end.state_hash);
  EXPECT_EQ(rest.last_loss, whole.last_loss);
  EXPECT_EQ(rest.evaluation.values, whole.evaluation.values);
}

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const auto& row : optimizers().rows()) names.emplace_back(row.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Optimizers, Resume, testing::ValuesIn(optimizer_names()),
                         [](const auto& each) { return each.param; });

// Negative control: resuming with other data order must not give the same bits.
TEST(ResumeControl, another_seed_ends_elsewhere) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Outcome one = run_part(scratch.path(), scratch.path() + "/a", {}, 0, false);
  const Outcome two = run_part(scratch.path(), scratch.path() + "/b", {"run.seed=2"}, 0, false);
  EXPECT_NE(one.end.parameter_hash, two.end.parameter_hash);
}

TEST(ResumeDamage, damaged_newest_is_passed_over_and_the_run_ends_the_same) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Overrides often{"checkpoint.every_steps=2", "checkpoint.keep=3"};
  const Outcome whole = run_part(scratch.path(), scratch.path() + "/run", often, 0, false);
  fs::resize_file(scratch.path() + "/run/checkpoints/step-6/shared.h5", 100);
  const Outcome again = run_part(scratch.path(), scratch.path() + "/run", often, 0, true);
  EXPECT_EQ(again.end.parameter_hash, whole.end.parameter_hash);
}

TEST(ResumeDamage, nothing_whole_is_refused_by_name) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  static_cast<void>(run_part(scratch.path(), scratch.path() + "/run", {}, 0, false));
  fs::remove(scratch.path() + "/run/checkpoints/step-6/manifest.json");
  try {
    static_cast<void>(run_part(scratch.path(), scratch.path() + "/run", {}, 0, true));
    FAIL() << "resumed from a checkpoint without a manifest";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    EXPECT_NE(std::string(error.what()).find("manifest.json"), std::string::npos);
  }
}

// A file-size limit stands in for a full disk: writes fail in the middle of a checkpoint.
TEST(ResumeDamage, full_disk_while_checkpointing_leaves_no_litter_and_the_older_one_whole) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const std::string run = scratch.path() + "/run";
  static_cast<void>(run_part(scratch.path(), run, {"train.steps=2"}, 0, false));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 1024;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  std::string what = "saved on a full disk";
  try {
    static_cast<void>(run_part(scratch.path(), run, {"train.steps=4"}, 0, true));
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    what = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(what.find("checkpoints"), std::string::npos) << what;
  EXPECT_FALSE(fs::exists(run + "/checkpoints/.writing-step-4"));
  EXPECT_TRUE(fs::exists(run + "/checkpoints/step-2/manifest.json"));
  EXPECT_EQ(run_part(scratch.path(), run, {"train.steps=4"}, 0, true).exit_code, 0);
}

TEST(Resume, checkpoint_of_two_ranks_continues_on_four) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Overrides overrides{"train.reproducible=true"};
  const Outcome whole = run_part(scratch.path(), scratch.path() + "/whole", overrides, 0, false, 1);
  static_cast<void>(run_part(scratch.path(), scratch.path() + "/part", overrides, 2, false, 2));
  const Outcome rest = run_part(scratch.path(), scratch.path() + "/part", overrides, 0, true, 4);
  EXPECT_EQ(rest.end.parameter_hash, whole.end.parameter_hash);
}

}  // namespace
}  // namespace lockstep::trainer
