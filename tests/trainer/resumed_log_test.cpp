// What a resumed run tells of the run that it continues: its summary knows the best evaluation, the last loss
// and the newest checkpoint also when they are older than itself.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "comm/worlds.h"
#include "tests/support/refusal.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/progress.h"
#include "trainer/run_log.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

Json summary_of(const std::string& directory) {
  std::ifstream file(directory + "/summary.json");
  return Json::parse(file);
}
std::string metrics_of(const std::string& directory) {
  std::ifstream file(directory + "/metrics.jsonl");
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A run of one process: steps from `first` to `last` whose loss is the step, and evaluations at the end.
struct Part {
  std::int64_t first, last;
  std::vector<std::pair<double, bool>> accuracies;  ///< and whether it is the best so far
};

void tell(const std::string& directory, const Part& part) {
  testing::internal::CaptureStdout();
  const auto log = make_run_log(directory, 1);
  RunFacts facts;
  facts.steps = part.last;
  facts.first_step = part.first;
  log->start(facts);
  for (std::int64_t step = part.first; step < part.last; ++step) {
    StepRecord record;
    record.result.step = step;
    record.result.loss = static_cast<float>(step);
    record.seconds = 0.5;
    log->step(record);
  }
  for (const auto& [accuracy, best] : part.accuracies)
    log->evaluation(part.last, {{{"accuracy", accuracy}, {"loss", 1}}, true, 0}, best);
  log->finish({"done", part.last, 1, 2, "checkpoints/step-" + std::to_string(part.last)});
  testing::internal::GetCapturedStdout();
}

TEST(ResumedLog, summary_keeps_the_best_of_the_run_before) {
  const ScratchDirectory scratch;
  tell(scratch.path(), {0, 4, {{0.75, true}}});
  tell(scratch.path(), {4, 6, {{0.5, false}}});
  const Json summary = summary_of(scratch.path());
  EXPECT_EQ(summary.at("best"), (Json{{"step", 4}, {"accuracy", 0.75}}));
  EXPECT_EQ(summary.at("eval").at("accuracy"), 0.5);
}

TEST(ResumedLog, a_better_evaluation_takes_the_place_of_the_one_before) {
  const ScratchDirectory scratch;
  tell(scratch.path(), {0, 4, {{0.75, true}}});
  tell(scratch.path(), {4, 6, {{0.875, true}}});
  EXPECT_EQ(summary_of(scratch.path()).at("best"), (Json{{"step", 6}, {"accuracy", 0.875}}));
}

TEST(ResumedLog, the_best_of_steps_that_are_repeated_is_forgotten) {  // negative control of the first law
  const ScratchDirectory scratch;
  tell(scratch.path(), {0, 4, {{0.75, true}}});
  tell(scratch.path(), {2, 6, {}});
  EXPECT_TRUE(summary_of(scratch.path()).at("best").is_null());
}

TEST(ResumedLog, the_best_of_several_is_the_last_that_was_marked) {
  const ScratchDirectory scratch;
  tell(scratch.path(), {0, 2, {{0.25, true}}});
  tell(scratch.path(), {2, 4, {{0.5, true}, {0.375, false}}});
  tell(scratch.path(), {4, 6, {{0.4, false}}});
  EXPECT_EQ(summary_of(scratch.path()).at("best"), (Json{{"step", 4}, {"accuracy", 0.5}}));
}

TEST(ResumedLog, without_a_step_of_its_own_the_last_loss_is_that_of_the_run_before) {
  const ScratchDirectory scratch;
  tell(scratch.path(), {0, 4, {}});
  tell(scratch.path(), {4, 4, {}});
  EXPECT_EQ(summary_of(scratch.path()).at("final_train_loss"), 3);
}

TEST(ResumedLog, loss_of_a_run_that_never_trained_is_nothing_rather_than_a_lie) {
  const ScratchDirectory scratch;
  tell(scratch.path(), {0, 0, {{0.25, true}}});
  EXPECT_TRUE(summary_of(scratch.path()).at("final_train_loss").is_null());
}

TEST(ResumedLog, lines_that_are_no_objects_go_and_do_no_harm) {
  const ScratchDirectory scratch;
  std::ofstream(scratch.path() + "/metrics.jsonl")
      << "17\nnull\n[1, 2]\n\n\"text\"\n{\"event\": \"note\", \"text\": \"kept\"}\n{}\n";
  tell(scratch.path(), {0, 0, {}});
  EXPECT_EQ(metrics_of(scratch.path()), "{\"event\": \"note\", \"text\": \"kept\"}\n{}\n");
}

/// Trains tiny images for `steps` with the log of rank 0.
Json trained(const std::string& directory, int ranks, int steps, bool resume) {
  const Config config = tiny_config(directory, "images",
                                    {"train.steps=" + std::to_string(steps), "eval.every_steps=2",
                                     "batch.global=30", "rate.peak=0.05", "model.cnn.dropout=0"});
  testing::internal::CaptureStdout();
  comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
    const auto log = world.rank() == 0 ? make_run_log(directory, 1) : make_silent_log();
    static_cast<void>(train(config, world, *log, {.run_directory = directory, .resume = resume}));
  });
  testing::internal::GetCapturedStdout();
  return summary_of(directory);
}

class ResumedRun : public testing::TestWithParam<int> {};

TEST_P(ResumedRun, of_a_finished_one_tells_what_the_finished_one_told) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const Json first = trained(scratch.path(), GetParam(), 4, false);
  const Json again = trained(scratch.path(), GetParam(), 4, true);
  EXPECT_EQ(first.at("checkpoint"), "checkpoints/step-4");
  EXPECT_FALSE(first.at("best").is_null());
  for (const char* key : {"status", "steps", "ranks", "parameters", "final_train_loss", "eval", "best",
                          "parameter_hash", "state_hash", "checkpoint"})
    EXPECT_EQ(again.at(key), first.at(key)) << key;
}
INSTANTIATE_TEST_SUITE_P(ranks, ResumedRun, testing::Values(1, 3, 5));

TEST(Progress, an_evaluation_that_is_no_number_is_never_the_best) {
  for (const bool larger : {false, true}) {
    Progress at;
    at.done = 1;
    EXPECT_FALSE(at.note_evaluation(std::numeric_limits<double>::quiet_NaN(), larger));
    EXPECT_FALSE(at.best.has_value());
    at.done = 2;
    EXPECT_TRUE(at.note_evaluation(0.5, larger));
    at.done = 3;
    EXPECT_FALSE(at.note_evaluation(std::numeric_limits<double>::quiet_NaN(), larger));
    EXPECT_EQ(at.best_step, 2);
    const double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(at.note_evaluation(infinity, larger), larger);
    EXPECT_EQ(at.note_evaluation(-infinity, larger), !larger);
  }
}

TEST(RunDirectory, with_a_name_too_long_for_the_system_is_refused_with_the_cure) {
  const ScratchDirectory scratch;
  for (const bool resume : {false, true}) {
    expect_error(Fault::config, {"cannot make the run directory", "too long"}, [&] {
      static_cast<void>(make_run_directory(scratch.path() + "/" + std::string(300, 'x'), "n", resume, ""));
    });
  }
}

TEST(RunDirectory, whose_config_cannot_be_kept_is_refused) {
  const ScratchDirectory scratch;
  fs::create_directories(scratch.path() + "/config.yaml");
  expect_error(Fault::config, {"cannot write", scratch.path()},
               [&] { static_cast<void>(make_run_directory(scratch.path(), "n", false, "model: mlp\n")); });
}

TEST(RunDirectory, of_a_job_at_work_is_refused_whole_until_it_ends) {
  const ScratchDirectory scratch;
  const auto config = [&] {
    std::ifstream file(scratch.path() + "/config.yaml");
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  auto first = std::make_unique<RunClaim>();
  static_cast<void>(make_run_directory(scratch.path(), "n", false, "first", first.get()));
  for (const bool resume : {false, true}) {
    RunClaim second;
    expect_error(Fault::config, {"another job", scratch.path()}, [&] {
      static_cast<void>(make_run_directory(scratch.path(), "n", resume, "second", &second));
    });
  }
  EXPECT_EQ(config(), "first");
  first.reset();
  RunClaim third;
  EXPECT_EQ(make_run_directory(scratch.path(), "n", true, "third", &third), scratch.path());
  EXPECT_EQ(config(), "first");  // it describes the checkpoints until the log starts
}

}  // namespace
}  // namespace lockstep::trainer
