// The figures of a run: what is usual of its steps, how time is said, where runs that start together keep
// their files.
#include <gtest/gtest.h>

#include <barrier>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "comm/worlds.h"
#include "core/error.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/progress.h"
#include "trainer/run_log.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// One step of a run that compresses: what it sent, and whether it compared with the true sum.
StepRecord sent(std::int64_t step, std::int64_t bytes, bool sampled, double seconds = 0.001) {
  StepRecord record;
  record.result.step = step;
  record.result.loss = 1;
  record.result.wire_bytes = bytes;
  record.result.compressed.resize(2);
  if (sampled) record.result.compressed[1].sample = std::make_shared<comm::SampleReport>();
  record.seconds = seconds;
  record.result.exposed_comm_s = seconds / 4;
  return record;
}

Json summary_of(const std::vector<StepRecord>& records, std::int64_t first_step = 0) {
  const ScratchDirectory scratch;
  testing::internal::CaptureStdout();
  const auto log = make_run_log(scratch.path(), 100);
  RunFacts facts;
  facts.steps = static_cast<std::int64_t>(records.size());
  facts.first_step = first_step;
  facts.global_batch = 12;
  log->start(facts);
  for (const StepRecord& record : records) log->step(record);
  log->finish({"done", facts.steps, 1, 2, ""});
  testing::internal::GetCapturedStdout();
  std::ifstream file(scratch.path() + "/summary.json");
  return Json::parse(file);
}

TEST(UsualBytes, are_those_of_steps_without_a_sample_also_when_the_last_took_one) {
  EXPECT_EQ(summary_of({sent(0, 100, false), sent(1, 5000, true)}).at("wire_bytes_per_step"), 100);
  EXPECT_EQ(summary_of({sent(0, 5000, true), sent(1, 100, false)}).at("wire_bytes_per_step"), 100);
  std::vector<StepRecord> every_other;
  for (int step = 0; step < 9; ++step)
    every_other.push_back(sent(step, step % 2 == 0 ? 5000 : 100, step % 2 == 0));
  EXPECT_EQ(summary_of(every_other).at("wire_bytes_per_step"), 100);
}

TEST(UsualBytes, are_the_median_of_steps_that_differ) {
  // A warm-up that sends everything, then less: the usual step is the later one.
  std::vector<StepRecord> warming;
  for (int step = 0; step < 7; ++step) warming.push_back(sent(step, step < 3 ? 8000 : 100 + step, false));
  EXPECT_EQ(summary_of(warming).at("wire_bytes_per_step"), 106);
  EXPECT_EQ(summary_of({sent(0, 7, false)}).at("wire_bytes_per_step"), 7);
  EXPECT_EQ(summary_of({}).at("wire_bytes_per_step"), 0);
}

TEST(UsualBytes, are_those_of_samples_when_every_step_took_one) {
  EXPECT_EQ(summary_of({sent(0, 300, true), sent(1, 300, true)}).at("wire_bytes_per_step"), 300);
}

TEST(UsualBytes, of_a_run_do_not_depend_on_how_often_it_samples) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  std::map<std::string, std::int64_t> usual;
  for (const std::string every : {"0", "1", "2", "3", "6"}) {
    const Config config =
        tiny_config(scratch.path(), "images",
                    {"compress.name=int8", "compress.min_elements=16", "compress.sample_every=" + every});
    const std::string directory = scratch.path() + "/every" + every;
    fs::create_directories(directory);
    testing::internal::CaptureStdout();
    comm::run_ranks_as_threads(2, [&](comm::World& world) {
      const auto log = world.rank() == 0 ? make_run_log(directory, 1) : make_silent_log();
      static_cast<void>(train(config, world, *log, {.run_directory = directory}));
    });
    testing::internal::GetCapturedStdout();
    std::ifstream file(directory + "/summary.json");
    usual[every] = Json::parse(file).at("wire_bytes_per_step");
  }
  for (const std::string every : {"2", "3", "6"}) EXPECT_EQ(usual[every], usual["0"]) << every;
  EXPECT_GT(usual["0"], 0);
  EXPECT_GT(usual["1"], usual["0"]) << "negative control: a step that samples sends more";
}

TEST(StepTimes, median_and_95th_of_a_hundred_leave_out_the_first_step) {
  for (const std::int64_t first : {std::int64_t{0}, std::int64_t{40}}) {
    std::vector<StepRecord> records{sent(first, 0, false, 1000)};
    // 1 to 101 ms in an order that is no order
    for (std::int64_t i = 0; i < 101; ++i)
      records.push_back(sent(first + 1 + i, 0, false, 1e-3 * static_cast<double>(1 + i * 37 % 101)));
    const Json summary = summary_of(records, first);
    EXPECT_NEAR(summary.at("step_ms").at("median").get<double>(), 51, 1e-9);
    EXPECT_NEAR(summary.at("step_ms").at("p95").get<double>(), 96, 1e-9);
    EXPECT_NEAR(summary.at("exposed_comm_ms").get<double>(), 51.0 / 4, 1e-9);
    EXPECT_NEAR(summary.at("samples_per_s").get<double>(), 12e3 / 51, 1e-6);
  }
}

TEST(StepTimes, of_a_run_of_one_step_are_nothing_rather_than_a_lie) {
  const Json summary = summary_of({sent(0, 9, false, 5)});
  EXPECT_EQ(summary.at("step_ms").at("median"), 0);
  EXPECT_EQ(summary.at("samples_per_s"), 0);
}

TEST(Duration, is_rounded_to_what_is_shown) {
  for (const auto& [seconds, text] : std::vector<std::pair<double, const char*>>{{0, "0m00s"},
                                                                                 {0.4, "0m00s"},
                                                                                 {0.6, "0m01s"},
                                                                                 {59.4, "0m59s"},
                                                                                 {59.6, "1m00s"},
                                                                                 {61, "1m01s"},
                                                                                 {3599.4, "59m59s"},
                                                                                 {3599.6, "1h00m"},
                                                                                 {3600, "1h00m"},
                                                                                 {3629, "1h00m"},
                                                                                 {3631, "1h01m"},
                                                                                 {7199, "2h00m"},
                                                                                 {86399, "24h00m"},
                                                                                 {100 * 3600, "100h00m"},
                                                                                 {1e7 + 60, "2777h48m"}})
    EXPECT_EQ(duration_text(seconds), text) << seconds;
}

TEST(Eta, is_what_the_steps_so_far_promise) {
  EXPECT_EQ(seconds_left(10, 0, 1, 10), 90);
  EXPECT_EQ(seconds_left(10, 0, 5, 10), 10);
  EXPECT_EQ(seconds_left(10, 0, 10, 10), 0);
  // A resumed run is judged by its own steps: 40 of them took 8 s, 60 are left.
  EXPECT_DOUBLE_EQ(seconds_left(8, 900, 940, 1000), 12);
  // At a steady pace what has passed and what is left always make the same whole.
  for (std::int64_t done = 101; done <= 150; ++done) {
    const double elapsed = 0.3 * static_cast<double>(done - 100);
    EXPECT_NEAR(elapsed + seconds_left(elapsed, 100, done, 150), 15, 1e-9) << done;
  }
}

/// Goes into a directory of its own and back: runs without a name are kept in ./runs.
class FreshDirectory : public testing::Test {
 protected:
  FreshDirectory() : before_(fs::current_path()) { fs::current_path(scratch_.path()); }
  ~FreshDirectory() override { fs::current_path(before_); }
  ScratchDirectory scratch_;
  fs::path before_;
};

TEST_F(FreshDirectory, jobs_that_start_together_get_one_each) {
  constexpr int kJobs = 8;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> got(kJobs);
    std::barrier together(kJobs);
    {
      std::vector<std::jthread> jobs;
      for (int job = 0; job < kJobs; ++job) {
        jobs.emplace_back([&, job] {
          together.arrive_and_wait();
          got[static_cast<std::size_t>(job)] =
              make_run_directory("", "race" + std::to_string(round), false, std::to_string(job));
        });
      }
    }
    EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), got.size()) << "round " << round;
    for (int job = 0; job < kJobs; ++job) {
      std::ifstream file(got[static_cast<std::size_t>(job)] + "/config.yaml");
      EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), std::to_string(job)) << "its own";
    }
  }
}

TEST_F(FreshDirectory, takes_the_first_free_number_and_passes_over_files) {
  EXPECT_EQ(make_run_directory("", "c", false, ""), "runs/c-1");
  EXPECT_EQ(make_run_directory("", "c", false, ""), "runs/c-2");
  std::ofstream("runs/c-3") << "a file of that name";
  EXPECT_EQ(make_run_directory("", "c", false, ""), "runs/c-4");
  EXPECT_EQ(make_run_directory("", "other", false, ""), "runs/other-1");
  fs::remove_all("runs/c-2");
  EXPECT_EQ(make_run_directory("", "c", false, ""), "runs/c-2");
}

TEST_F(FreshDirectory, without_a_place_for_runs_is_refused_with_the_cure) {
  std::ofstream("runs") << "in the way";
  try {
    static_cast<void>(make_run_directory("", "c", false, ""));
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find("'runs"), std::string::npos) << error.what();
    EXPECT_NE(error.hint().find("--run-dir"), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep::trainer
