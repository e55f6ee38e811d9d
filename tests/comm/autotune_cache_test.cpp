// What is kept of a choice: one file per task and layout, found again by the same, missed by any other; a
// damaged or foreign one is measured again; one that cannot be written is only slower.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>

#include "comm/autotune/autotune.h"
#include "comm/worlds.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

namespace fs = std::filesystem;

class AutotuneCache : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = testing::TempDir() + "/lockstep-cache-" + test->name();
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  [[nodiscard]] TuneTask task() const {
    return {.total_bytes = 1 << 17, .backward_s = 1e-3, .schedule = "ring", .cache_directory = directory_};
  }
  /// The choice that all ranks agree on.
  static Choice tuned(const Topology& topology, const TuneTask& task) {
    std::mutex lock;
    std::vector<Choice> all;
    run_ranks_as_threads(topology, [&](World& world) {
      Choice mine = autotune(world, task);
      const std::scoped_lock hold(lock);
      all.push_back(std::move(mine));
    });
    for (const Choice& each : all) {
      EXPECT_EQ(text_of(each), text_of(all[0]));
      EXPECT_EQ(each.from_cache, all[0].from_cache);
    }
    return all[0];
  }
  [[nodiscard]] std::vector<fs::path> files() const {
    if (!fs::exists(directory_)) return {};
    return std::vector<fs::path>(fs::directory_iterator(directory_), fs::directory_iterator());
  }
  static std::string contents(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string directory_;
};

TEST_F(AutotuneCache, holds_one_whole_file_for_a_task_and_finds_it_again) {
  const Choice first = tuned(3, task());
  EXPECT_FALSE(first.from_cache);
  ASSERT_EQ(files().size(), 1u) << "nothing is left aside";
  EXPECT_EQ(text_of(choice_of(contents(files()[0]))), text_of(first));
  const Choice again = tuned(3, task());
  EXPECT_TRUE(again.from_cache);
  EXPECT_TRUE(again.rows.empty()) << "nothing was measured";
  EXPECT_EQ(text_of(again), text_of(first));
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(AutotuneCache, every_difference_of_the_task_is_another_question) {
  std::vector<TuneTask> tasks(9, task());
  tasks[1].total_bytes *= 2;
  tasks[2].backward_s *= 4;
  tasks[3].first_bucket_bytes /= 2;
  tasks[4].schedule = "recursive_doubling";
  tasks[5].bucket_bytes = 1 << 19;
  tasks[6].device_model = "another processor";
  tasks[7].transport = "mpi";
  tasks[8].dtype = Dtype::bf16;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    EXPECT_FALSE(tuned(2, tasks[i]).from_cache) << i;
    EXPECT_EQ(files().size(), i + 1);
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) EXPECT_TRUE(tuned(2, tasks[i]).from_cache) << i;
  TuneTask patient = task();
  patient.deadline_s *= 2;  // no part of the question
  EXPECT_TRUE(tuned(2, patient).from_cache);
}

TEST_F(AutotuneCache, another_layout_of_ranks_is_another_question) {
  const std::vector<Topology> layouts{2, 3, Topology(std::vector<int>{0, 0, 1}),
                                      Topology(std::vector<int>{0, 1, 1})};
  for (const Topology& layout : layouts) EXPECT_FALSE(tuned(layout, task()).from_cache);
  for (const Topology& layout : layouts) EXPECT_TRUE(tuned(layout, task()).from_cache);
  EXPECT_EQ(files().size(), layouts.size());
}

TEST_F(AutotuneCache, what_is_kept_is_taken_and_not_measured_anew) {
  static_cast<void>(tuned(2, task()));
  ASSERT_EQ(files().size(), 1u);
  std::ofstream(files()[0]) << R"({"schedule":"bruck","bucket_bytes":12344})";
  const Choice kept = tuned(2, task());
  EXPECT_TRUE(kept.from_cache);
  EXPECT_EQ(kept.schedule, "bruck");
  EXPECT_EQ(kept.bucket_bytes, 12344);
  EXPECT_NE(report_of(kept).find("(as before on these hosts)"), std::string::npos);
}

TEST_F(AutotuneCache, damaged_or_foreign_file_is_measured_again_and_replaced) {
  const Choice good = tuned(2, task());
  ASSERT_EQ(files().size(), 1u);
  const std::string whole = contents(files()[0]);
  for (const std::string& bad :
       {std::string("no JSON"), whole.substr(0, whole.size() / 2), std::string("[]"), std::string(64, '\0'),
        std::string(R"({"schedule":"of_another_build","bucket_bytes":1048576})"),
        std::string(R"({"schedule":"ring:stride=3","bucket_bytes":1048576})"),
        std::string(R"({"schedule":"ring","bucket_bytes":0})"),
        std::string(R"({"schedule":"ring","bucket_bytes":-4})"),
        std::string(R"({"schedule":"ring","bucket_bytes":"large"})")}) {
    std::ofstream(files()[0], std::ios::binary) << bad;
    const Choice again = tuned(2, task());
    EXPECT_FALSE(again.from_cache) << bad;
    EXPECT_EQ(again.schedule, good.schedule);
    EXPECT_EQ(text_of(choice_of(contents(files()[0]))), text_of(again)) << "replaced after " << bad;
    EXPECT_TRUE(tuned(2, task()).from_cache);
  }
}

TEST_F(AutotuneCache, that_cannot_be_written_only_costs_time) {
  std::ofstream(directory_) << "a file where the folder should be";
  EXPECT_FALSE(tuned(2, task()).from_cache);
  EXPECT_FALSE(tuned(2, task()).from_cache);
  EXPECT_TRUE(fs::is_regular_file(directory_));
}

TEST_F(AutotuneCache, without_a_directory_nothing_is_kept) {
  TuneTask forgetful = task();
  forgetful.cache_directory.clear();
  EXPECT_FALSE(tuned(2, forgetful).from_cache);
  EXPECT_FALSE(tuned(2, forgetful).from_cache);
  EXPECT_FALSE(fs::exists(directory_));
}

TEST_F(AutotuneCache, rows_come_best_first_among_the_measured_and_name_each_schedule_once) {
  TuneTask open = task();
  open.schedule.clear();
  const Choice choice = tuned(4, open);
  ASSERT_GT(choice.rows.size(), 3u);
  EXPECT_EQ(choice.schedule, choice.rows[0].schedule);
  EXPECT_EQ(choice.bucket_bytes, choice.rows[0].bucket_bytes);
  std::set<std::string> names;
  for (std::size_t i = 0; i < choice.rows.size(); ++i) {
    EXPECT_TRUE(names.insert(choice.rows[i].schedule).second) << choice.rows[i].schedule;
    EXPECT_EQ(choice.rows[i].measured_sum_s > 0, i < 3) << "the best three are measured";
    EXPECT_GE(choice.rows[i].step_s, open.backward_s);
    if (i == 0 || i == 3) continue;  // what was only predicted is ordered by itself
    EXPECT_LE(choice.rows[i - 1].step_s, choice.rows[i].step_s) << i;
  }
}

TEST_F(AutotuneCache, one_rank_alone_has_nothing_to_measure_and_still_chooses) {
  const Choice choice = tuned(1, task());
  EXPECT_EQ(choice.schedule, "ring");
  EXPECT_GT(choice.bucket_bytes, 0);
  EXPECT_TRUE(tuned(1, task()).from_cache);
}

TEST(ChoiceText, comes_back_whole) {
  for (const char* schedule : {"ring", "double_tree:segment=4096", "library"}) {
    for (const std::int64_t bytes : {std::int64_t{4}, std::int64_t{25} << 20, std::int64_t{1} << 40}) {
      Choice choice;
      choice.schedule = schedule;
      choice.bucket_bytes = bytes;
      const Choice back = choice_of(text_of(choice));
      EXPECT_EQ(back.schedule, schedule);
      EXPECT_EQ(back.bucket_bytes, bytes);
    }
  }
}

TEST(ChoiceText, that_is_none_is_quoted_with_the_cure) {
  for (const char* text : {"", "3", "{\"schedule\": 3, \"bucket_bytes\": 4}", "{\"schedule\": \"ring\"}",
                           "{\"schedule\": \"ring\", \"bucket_bytes\": 4.5}"}) {
    try {
      static_cast<void>(choice_of(text));
      FAIL() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_NE(std::string(error.what()).find("'" + std::string(text) + "'"), std::string::npos)
          << error.what();
      EXPECT_NE(error.hint().find("delete"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace lockstep::comm
