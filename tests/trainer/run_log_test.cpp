// What a run leaves behind: every line of metrics.jsonl parses, summary.json has what others rely on, a
// resumed run's lines replace those it repeats, and a run directory is never overwritten.
#include "trainer/run_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/progress.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

RunFacts facts(std::int64_t first = 0) {
  RunFacts all;
  all.model = "mlp";
  all.data = "some.h5";
  all.device = "cpu";
  all.schedule = "ring";
  all.world = "threads";
  all.ranks = 3;
  all.parameters = 1234;
  all.global_batch = 12;
  all.steps = 6;
  all.first_step = first;
  all.steps_per_epoch = 4;
  return all;
}
StepRecord record(std::int64_t step, float loss, double seconds = 0.25) {
  StepRecord all;
  all.result.step = step;
  all.result.loss = loss;
  all.result.rate = 0.5f;
  all.result.exposed_comm_s = 0.125;
  all.result.wire_bytes = 4096;
  all.seconds = seconds;
  return all;
}
std::vector<Json> lines(const std::string& directory) {
  std::ifstream file(directory + "/metrics.jsonl");
  std::vector<Json> all;
  for (std::string line; std::getline(file, line);) all.push_back(Json::parse(line));
  return all;
}
std::vector<std::int64_t> steps_of(const std::vector<Json>& all, const std::string& event) {
  std::vector<std::int64_t> steps;
  for (const Json& line : all)
    if (line.at("event") == event) steps.push_back(line.at("step"));
  return steps;
}
const RunEnd kEnd{"done", 6, 0x0123456789abcdefULL, 7, "checkpoints/step-6"};

/// A log's standard output, which is the terminal's part of the story.
template <class Story>
std::string told(const std::string& directory, std::int64_t every, const Story& story) {
  testing::internal::CaptureStdout();
  const auto log = make_run_log(directory, every);
  story(*log);
  return testing::internal::GetCapturedStdout();
}

TEST(RunLog, steps_are_logged_at_the_start_every_so_often_and_at_the_end) {
  const ScratchDirectory scratch;
  told(scratch.path(), 4, [](RunLog& log) {
    log.start(facts());
    for (int step = 0; step < 6; ++step) log.step(record(step, 1));
  });
  EXPECT_EQ(steps_of(lines(scratch.path()), "step"), (std::vector<std::int64_t>{1, 4, 6}));
}

TEST(RunLog, step_line_has_its_numbers) {
  const ScratchDirectory scratch;
  told(scratch.path(), 1, [](RunLog& log) {
    log.start(facts());
    log.step(record(1, 2.5f));
  });
  const Json line = lines(scratch.path()).at(0);
  EXPECT_EQ(line.at("step"), 2);
  EXPECT_DOUBLE_EQ(line.at("epoch"), 0.5);
  EXPECT_DOUBLE_EQ(line.at("loss"), 2.5);
  EXPECT_DOUBLE_EQ(line.at("rate"), 0.5);
  EXPECT_DOUBLE_EQ(line.at("step_ms"), 250);
  EXPECT_DOUBLE_EQ(line.at("exposed_comm_ms"), 125);
  EXPECT_EQ(line.at("wire_bytes"), 4096);
}

TEST(RunLog, numbers_that_json_lacks_become_text) {
  const ScratchDirectory scratch;
  told(scratch.path(), 1, [](RunLog& log) {
    log.start(facts());
    log.step(record(0, std::numeric_limits<float>::quiet_NaN()));
    log.step(record(1, -std::numeric_limits<float>::infinity()));
  });
  EXPECT_EQ(lines(scratch.path()).at(0).at("loss"), "nan");
  EXPECT_EQ(lines(scratch.path()).at(1).at("loss"), "-inf");
}

TEST(RunLog, summary_has_what_others_rely_on) {
  const ScratchDirectory scratch;
  told(scratch.path(), 1, [](RunLog& log) {
    log.start(facts());
    for (int step = 0; step < 6; ++step)
      log.step(record(step, 6.0f - static_cast<float>(step), step == 0 ? 100 : 0.25));
    log.evaluation(6, {{{"accuracy", 0.75}, {"loss", 0.5}}, true, 1}, true);
    log.finish(kEnd);
  });
  std::ifstream file(scratch.path() + "/summary.json");
  const Json summary = Json::parse(file);
  EXPECT_EQ(summary.at("status"), "done");
  EXPECT_EQ(summary.at("steps"), 6);
  EXPECT_EQ(summary.at("ranks"), 3);
  EXPECT_DOUBLE_EQ(summary.at("final_train_loss"), 1);
  EXPECT_DOUBLE_EQ(summary.at("eval").at("accuracy"), 0.75);
  EXPECT_DOUBLE_EQ(summary.at("best").at("accuracy"), 0.75);
  // The first step of a process is left out: it allocates.
  EXPECT_DOUBLE_EQ(summary.at("step_ms").at("median"), 250);
  EXPECT_DOUBLE_EQ(summary.at("step_ms").at("p95"), 250);
  EXPECT_DOUBLE_EQ(summary.at("samples_per_s"), 48);
  EXPECT_DOUBLE_EQ(summary.at("exposed_comm_ms"), 125);
  EXPECT_EQ(summary.at("wire_bytes_per_step"), 4096);
  EXPECT_EQ(summary.at("parameter_hash"), "0123456789abcdef");
  EXPECT_EQ(summary.at("state_hash"), "0000000000000007");
  EXPECT_EQ(summary.at("checkpoint"), "checkpoints/step-6");
}

TEST(RunLog, resumed_run_replaces_the_lines_it_repeats) {
  const ScratchDirectory scratch;
  const auto run = [&](std::int64_t first, std::int64_t last) {
    told(scratch.path(), 1, [&](RunLog& log) {
      log.start(facts(first));
      for (std::int64_t step = first; step < last; ++step) log.step(record(step, static_cast<float>(first)));
    });
  };
  run(0, 4);
  std::ofstream(scratch.path() + "/metrics.jsonl", std::ios::app)
      << "{\"event\": \"step\", \"st";  // killed while writing
  run(2, 6);
  const auto all = lines(scratch.path());
  EXPECT_EQ(steps_of(all, "step"), (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_DOUBLE_EQ(all[1].at("loss"), 0);
  EXPECT_DOUBLE_EQ(all[2].at("loss"), 2);
}

TEST(RunLog, terminal_hears_of_everything_that_matters) {
  const ScratchDirectory scratch;
  const std::string text = told(scratch.path(), 3, [](RunLog& log) {
    log.start(facts());
    for (int step = 0; step < 6; ++step) log.step(record(step, 1.25f));
    log.evaluation(6, {{{"accuracy", 0.75}}, true, 1}, true);
    log.note("something happened");
    log.finish(kEnd);
  });
  for (const char* part :
       {"mlp", "1234 parameters", "3 over threads", "ring", "12 a step", "loss 1.2500", "left 0m00s",
        "accuracy 75.00 %", "(best)", "something happened", "done after 6 steps", "0123456789abcdef"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  EXPECT_EQ(text.find('\r'), std::string::npos) << "a pipe gets plain lines";
}

TEST(RunLog, evaluations_checkpoints_and_notes_are_events) {
  const ScratchDirectory scratch;
  told(scratch.path(), 1, [](RunLog& log) {
    log.start(facts());
    log.evaluation(2, {{{"rmse", 1.5}}, false, 0.5}, false);
    log.checkpoint(2, "checkpoints/step-2", 0.25);
    log.note("so it goes");
  });
  const auto all = lines(scratch.path());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_DOUBLE_EQ(all[0].at("eval").at("rmse"), 1.5);
  EXPECT_EQ(all[1].at("path"), "checkpoints/step-2");
  EXPECT_EQ(all[2].at("text"), "so it goes");
}

TEST(RunLog, silent_one_writes_nothing) {
  testing::internal::CaptureStdout();
  const auto log = make_silent_log();
  log->start(facts());
  log->step(record(0, 1));
  log->evaluation(1, {}, true);
  log->checkpoint(1, "x", 0);
  log->note("x");
  log->finish(kEnd);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(RunDirectory, is_made_with_parents_and_config) {
  const ScratchDirectory scratch;
  const std::string made = make_run_directory(scratch.path() + "/a/b", "name", false, "model: mlp\n");
  EXPECT_EQ(made, scratch.path() + "/a/b");
  std::ifstream file(made + "/config.yaml");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "model: mlp\n");
}

TEST(RunDirectory, of_another_run_is_refused_unless_resumed) {
  const ScratchDirectory scratch;
  fs::create_directories(scratch.path() + "/checkpoints");
  try {
    static_cast<void>(make_run_directory(scratch.path(), "name", false, ""));
    FAIL() << "overwritten";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(error.hint().find("--resume"), std::string::npos);
  }
  EXPECT_EQ(make_run_directory(scratch.path(), "name", true, ""), scratch.path());
}

TEST(RunDirectory, unwritable_place_is_refused) {
  const ScratchDirectory scratch;
  std::ofstream(scratch.path() + "/file") << "x";
  try {
    static_cast<void>(make_run_directory(scratch.path() + "/file/run", "name", false, ""));
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(error.hint().find("--run-dir"), std::string::npos);
  }
}

TEST(Progress, best_is_the_largest_or_the_smallest) {
  Progress at;
  at.done = 5;
  EXPECT_TRUE(at.note_evaluation(0.5, true));
  at.done = 6;
  EXPECT_FALSE(at.note_evaluation(0.5, true));
  EXPECT_FALSE(at.note_evaluation(0.4, true));
  EXPECT_EQ(at.best_step, 5);
  EXPECT_TRUE(at.note_evaluation(0.4, false));
  EXPECT_EQ(at.best_step, 6);
}

TEST(Progress, multiples_lie_beyond_what_is_done) {
  Progress at;
  for (const auto& [done, next] : std::vector<std::pair<int, int>>{{0, 4}, {3, 4}, {4, 8}, {5, 8}}) {
    at.done = done;
    EXPECT_EQ(at.next_multiple(4), next);
    EXPECT_EQ(at.due(4), done % 4 == 0);
  }
  EXPECT_FALSE(at.due(0));
}

TEST(Progress, save_and_load_keep_skips_and_the_best) {
  for (const bool judged : {false, true}) {
    Progress at, back;
    at.skips = 3;
    at.done = 8;
    if (judged) static_cast<void>(at.note_evaluation(1.5, false));
    StateMap state;
    StateWriter writer(state);
    at.save(writer);
    back.load(StateReader(state), 9);
    EXPECT_EQ(back.skips, 3);
    EXPECT_EQ(back.best.has_value(), judged);
    EXPECT_EQ(back.best_step, at.best_step);
    for (std::int64_t each : {back.first, back.next, back.done, back.saved}) EXPECT_EQ(each, 9);
  }
}

}  // namespace
}  // namespace lockstep::trainer
