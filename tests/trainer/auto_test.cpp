// `allreduce.name: auto` in training: the choice is kept in the run directory and in checkpoints, and a
// resumed run repeats it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

std::string contents(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct AutoRun {
  AutoRun() { write_tiny_images(scratch.path() + "/images.h5"); }
  Outcome run(const Overrides& more, bool resume) const {
    Overrides overrides{"allreduce.name=auto", "allreduce.auto.cache=false"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    return run_tiny(tiny_config(scratch.path(), "images", overrides), 2,
                    {.run_directory = scratch.path(), .resume = resume});
  }
  [[nodiscard]] std::string file() const { return scratch.path() + "/allreduce.json"; }
  ScratchDirectory scratch;
};

TEST(AutoTraining, a_forced_choice_is_taken_and_written_down) {
  const AutoRun auto_run;
  const Outcome outcome =
      auto_run.run({"allreduce.auto.schedule=ring:segment=100", "allreduce.auto.bucket_mib=0.5"}, false);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(contents(auto_run.file()), R"({"bucket_bytes":524288,"schedule":"ring:segment=100"})");
}

TEST(AutoTraining, a_resumed_run_repeats_what_the_run_or_its_checkpoint_remembers) {
  const AutoRun auto_run;
  static_cast<void>(auto_run.run({"train.steps=2", "allreduce.auto.schedule=ring"}, false));
  const std::string chosen = contents(auto_run.file());
  // Forcing another one now would choose it: only memory explains the first.
  static_cast<void>(auto_run.run({"train.steps=3", "allreduce.auto.schedule=bruck"}, true));
  EXPECT_EQ(contents(auto_run.file()), chosen);
  std::filesystem::remove(auto_run.file());
  static_cast<void>(auto_run.run({"train.steps=4", "allreduce.auto.schedule=bruck"}, true));
  EXPECT_EQ(contents(auto_run.file()), chosen);
}

TEST(AutoTraining, a_new_run_chooses_anew) {  // negative control of the law above
  const AutoRun auto_run;
  static_cast<void>(auto_run.run({"train.steps=2", "allreduce.auto.schedule=ring"}, false));
  static_cast<void>(auto_run.run({"train.steps=2", "allreduce.auto.schedule=bruck"}, false));
  EXPECT_NE(contents(auto_run.file()).find("bruck"), std::string::npos);
}

TEST(AutoTraining, reproducible_mode_refuses_it_by_name) {
  const AutoRun auto_run;
  try {
    static_cast<void>(auto_run.run({"train.reproducible=true"}, false));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find("'auto'"), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep::trainer
