// What a traced run leaves: a file a rank with every kernel and bucket of the traced steps, and the same bits
// as without.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/tiny_run.h"
#include "trainer/trace_window.h"

namespace lockstep::trainer {
namespace {

using Json = nlohmann::json;

class TracedRun : public ::testing::Test {
 protected:
  TracedRun() { write_tiny_images(scratch_.path() + "/images.h5"); }

  /// Trains into a directory of its own; `overrides` beside small buckets, so that there are several.
  Outcome train_on(int ranks, Overrides overrides, const std::string& name = "run") {
    overrides.insert(overrides.end(),
                     {"train.steps=8", "exchange.bucket_mib=0.001", "exchange.first_bucket_mib=0.001"});
    std::filesystem::create_directories(directory(name));
    return run_tiny(tiny_config(scratch_.path(), "images", overrides), ranks,
                    {.run_directory = directory(name)});
  }
  [[nodiscard]] std::string directory(const std::string& name) const { return scratch_.path() + "/" + name; }
  [[nodiscard]] std::string file(int rank, const std::string& name = "run") const {
    return directory(name) + "/trace/rank-" + std::to_string(rank) + ".json";
  }
  /// The spans of a rank, without what names tracks.
  [[nodiscard]] std::vector<Json> spans(int rank) const {
    std::ifstream in(file(rank));
    EXPECT_TRUE(in.good()) << file(rank);
    std::vector<Json> spans;
    const Json document = Json::parse(in);
    for (const Json& event : document.at("traceEvents"))
      if (event.at("ph") == "X") spans.push_back(event);
    return spans;
  }

  ScratchDirectory scratch_;
};

bool starts(const Json& span, const std::string& text) {
  return span.at("name").get<std::string>().rfind(text, 0) == 0;
}

TEST_F(TracedRun, has_every_kernel_and_bucket_of_the_traced_steps_on_every_rank) {
  train_on(3, {"run.trace_from=2", "run.trace_steps=3"});
  for (int rank = 0; rank < 3; ++rank) {
    std::map<std::string, std::map<int, int>> seen;  // name -> step -> times
    for (const Json& span : spans(rank)) {
      EXPECT_EQ(span.at("pid"), rank);
      EXPECT_GE(span.at("dur"), 0);
      ++seen[span.at("name")][span.at("args").at("step")];
    }
    const int microbatches = seen["feed"][2];
    EXPECT_GT(microbatches, 0);
    int forward = 0, backward = 0, buckets = 0;
    for (const auto& [name, steps] : seen) {
      const bool once = name == "update" || name == "wait for sums" || name == "statistics and loss" ||
                        name.rfind("bucket ", 0) == 0;
      const int times = once ? 1 : microbatches;
      EXPECT_EQ(steps, (std::map<int, int>{{2, times}, {3, times}, {4, times}})) << name;
      forward += name.rfind("forward ", 0) == 0;
      backward += name.rfind("backward ", 0) == 0;
      buckets += name.rfind("bucket ", 0) == 0;
    }
    EXPECT_GT(forward, 2);
    EXPECT_GT(backward, 2);
    EXPECT_GT(buckets, 1);
    for (const char* name : {"feed", "wait for data", "wait for sums", "update", "statistics and loss"})
      EXPECT_TRUE(seen.contains(name)) << name;
  }
}

TEST_F(TracedRun, buckets_begin_behind_the_first_backward_and_end_before_the_update) {
  train_on(2, {"run.trace_from=1", "run.trace_steps=1"});
  double backward = 1e30, update = 0;
  for (const Json& span : spans(0)) {
    if (starts(span, "backward")) backward = std::min(backward, span.at("ts").get<double>());
    if (starts(span, "update")) update = span.at("ts");
  }
  int buckets = 0;
  for (const Json& span : spans(0)) {
    if (!starts(span, "bucket")) continue;
    ++buckets;
    EXPECT_GE(span.at("ts"), backward);
    EXPECT_LE(span.at("ts").get<double>() + span.at("dur").get<double>(), update);
    EXPECT_GT(span.at("args").at("bytes"), 0);
  }
  EXPECT_GT(buckets, 1);
}

TEST_F(TracedRun, trains_the_same_bits) {
  const Outcome plain = train_on(2, {}, "plain");
  const Outcome traced = train_on(2, {"run.trace_from=0", "run.trace_steps=100"}, "traced");
  EXPECT_EQ(plain.end.parameter_hash, traced.end.parameter_hash);
  EXPECT_FALSE(std::filesystem::exists(directory("plain") + "/trace"));
  EXPECT_TRUE(std::filesystem::exists(file(1, "traced")));
}

TEST_F(TracedRun, ends_with_the_run) {
  train_on(1, {"run.trace_from=6", "run.trace_steps=100"});
  std::set<int> steps;
  for (const Json& span : spans(0)) steps.insert(span.at("args").at("step").get<int>());
  EXPECT_EQ(steps, (std::set<int>{6, 7}));
}

TEST_F(TracedRun, begins_with_the_run_that_is_resumed_behind_the_first_traced_step) {
  const Overrides traced{"run.trace_from=2", "run.trace_steps=4", "checkpoint.every_steps=1"};
  std::filesystem::create_directories(directory("run"));
  static_cast<void>(run_part(scratch_.path(), directory("run"), traced, 4, false));
  std::filesystem::remove_all(directory("run") + "/trace");
  static_cast<void>(run_part(scratch_.path(), directory("run"), traced, 0, true));
  std::set<int> steps;
  for (const Json& span : spans(1)) steps.insert(span.at("args").at("step").get<int>());
  ASSERT_FALSE(steps.empty());
  EXPECT_GE(*steps.begin(), 3);
  EXPECT_EQ(*steps.rbegin(), 5);
}

TEST_F(TracedRun, a_trace_that_cannot_be_written_does_not_end_the_run) {
  std::filesystem::create_directories(directory("run"));
  std::ofstream(directory("run") + "/trace") << "a file in the way";
  const Outcome outcome = train_on(2, {"run.trace_from=0", "run.trace_steps=1"});
  EXPECT_EQ(outcome.exit_code, 0);
}

TEST(TraceText, names_processes_and_tracks_and_counts_microseconds) {
  const std::vector<TracedSpan> spans{{"compute", "a", 3, 0, 0.5, 0.75},
                                      {"communication", "bucket \"0\"", 3, 96, 0.625, 1},
                                      {"compute", "b", 4, 0, 1, 1}};
  const Json events = Json::parse(trace_text(spans, 5)).at("traceEvents");
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[0],
            Json::parse(R"({"ph":"M","name":"process_name","pid":5,"tid":0,"args":{"name":"rank 5"}})"));
  EXPECT_EQ(events[1],
            Json::parse(R"({"ph":"M","name":"thread_name","pid":5,"tid":0,"args":{"name":"compute"}})"));
  EXPECT_EQ(events[2].at("ts"), 500000);
  EXPECT_EQ(events[2].at("dur"), 250000);
  EXPECT_FALSE(events[2].at("args").contains("bytes"));
  EXPECT_EQ(events[4].at("name"), "bucket \"0\"");
  EXPECT_EQ(events[4].at("tid"), 1);
  EXPECT_EQ(events[4].at("args"), Json::parse(R"({"step":3,"bytes":96})"));
  EXPECT_EQ(events[5].at("tid"), 0);
  EXPECT_EQ(Json::parse(trace_text({}, 0)).at("traceEvents").size(), 1U);
}

}  // namespace
}  // namespace lockstep::trainer
