// `allreduce.name: auto`: the model on made-up costs, the choice on ranks as threads, and what is kept of it.
#include "comm/autotune/autotune.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "comm/allreduce/auto.h"
#include "comm/allreduce/peer.h"
#include "comm/autotune/model.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

TEST(FitLine, finds_latency_and_bandwidth_again) {
  const std::vector<std::pair<double, double>> points{
      {4, 3e-6 + 4e-10}, {4096, 3e-6 + 4096e-10}, {1e6, 3e-6 + 1e-4}};
  const Line line = fit_line(points);
  EXPECT_NEAR(line.latency_s, 3e-6, 1e-9);
  EXPECT_NEAR(line.s_per_byte, 1e-10, 1e-14);
}

TEST(FitLine, never_goes_below_nothing) {
  const Line line = fit_line(std::vector<std::pair<double, double>>{{1, 2e-6}, {1e6, 1e-6}});
  EXPECT_GE(line.latency_s, 0);
  EXPECT_EQ(line.s_per_byte, 0);
}

CostModel made_up(double latency_s, double s_per_byte) {
  return {
      .inside = {latency_s, s_per_byte}, .across = {latency_s, s_per_byte}, .add_s_per_byte = 0, .whole = {}};
}

// The formulas of the papers: 2(p-1) a + 2(p-1)/p n b for the ring, log2 p (a + n b) for recursive doubling.
TEST(Model, predicts_what_the_formulas_say) {
  const CostModel model = made_up(5e-6, 1e-9);
  const std::int64_t bytes = 8 * 4 * 1000;
  const auto predicted = [&](const std::string& name) {
    return predicted_s(model, name, *schedule_called(name), 8, bytes);
  };
  const double n = static_cast<double>(bytes);
  EXPECT_NEAR(predicted("ring"), 14 * 5e-6 + 1.75 * n * 1e-9, 1e-12);
  EXPECT_NEAR(predicted("halving_doubling"), 6 * 5e-6 + 1.75 * n * 1e-9, 1e-12);
  EXPECT_NEAR(predicted("recursive_doubling"), 3 * (5e-6 + n * 1e-9), 1e-12);
}

TEST(Model, latency_decides_for_small_arrays_and_bytes_for_large_ones) {
  const CostModel model = made_up(30e-6, 1e-9);
  const auto predicted = [&](const std::string& name, std::int64_t bytes) {
    return predicted_s(model, name, *schedule_called(name), 8, bytes);
  };
  EXPECT_LT(predicted("recursive_doubling", 4096), predicted("ring", 4096));
  EXPECT_GT(predicted("recursive_doubling", 64 << 20), predicted("ring", 64 << 20));
}

TEST(Model, a_slow_link_between_nodes_favours_hierarchical) {
  CostModel model = made_up(1e-6, 1e-10);
  model.across = {50e-6, 1e-8};
  const Topology dealt(std::vector<int>{0, 1, 0, 1, 0, 1, 0, 1});
  const auto predicted = [&](const std::string& name) {
    return predicted_s(model, name, *schedule_called(name), dealt, 16 << 20);
  };
  EXPECT_LT(2 * predicted("hierarchical"), predicted("ring"));
}

TEST(Model, one_bucket_ends_a_sum_after_backward_and_small_ones_overlap) {
  const auto sum_s = [](std::int64_t bytes) { return 1e-9 * static_cast<double>(bytes); };
  constexpr std::int64_t kTotal = 100'000'000;  // 0.1 s of sums
  EXPECT_NEAR(predicted_step_s(0.2, kTotal, kTotal, kTotal, sum_s), 0.2 + 0.1, 1e-9);
  EXPECT_NEAR(predicted_step_s(0.2, kTotal, kTotal / 10, kTotal / 10, sum_s), 0.2 + 0.01, 1e-9);
  EXPECT_NEAR(predicted_step_s(0.0, kTotal, kTotal / 10, kTotal / 10, sum_s), 0.1, 1e-9);
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TEST(Candidates, differ_between_host_memory_and_gpus_with_and_without_reach) {
  const Device gpu{DeviceKind::cuda, 0};
  const auto host = tune_candidates({}, false), near = tune_candidates({.device = gpu}, true),
             far = tune_candidates({.device = gpu}, false);
  for (const char* everywhere : {"library", "ring", "halving_doubling"}) {
    for (const auto& names : {host, near, far}) EXPECT_TRUE(contains(names, everywhere)) << everywhere;
  }
  EXPECT_TRUE(contains(host, "shared"));
  EXPECT_FALSE(contains(near, "shared"));
  EXPECT_TRUE(contains(near, "peer"));
  EXPECT_FALSE(contains(far, "peer"));
  EXPECT_FALSE(contains(near, "auto"));
  EXPECT_EQ(tune_candidates({.schedule = "bruck", .device = gpu}, false), std::vector<std::string>{"bruck"});
}

// Lines as two and eight GPUs of a node have them: latency decides for a small sum, the link for a large one.
TEST(Model, ranks_what_gpus_offer_by_latency_and_link) {
  CostModel model = made_up(15e-6, 1 / 150e9);
  model.whole["library"] = {18e-6, 1 / 180e9};
  model.whole["peer"] = {6e-6, 1 / 170e9};
  const auto best = [&](std::int64_t bytes) {
    std::map<double, std::string> by_time;
    for (const std::string& name : tune_candidates({.device = {DeviceKind::cuda, 0}}, true))
      by_time[predicted_s(model, name, *schedule_called(name), 8, bytes)] = name;
    return by_time.begin()->second;
  };
  EXPECT_EQ(best(1 << 20), "peer");
  EXPECT_EQ(best(std::int64_t{1} << 30), "library");
}

TEST(Auto, passes_on_what_the_chosen_one_needs_of_a_transport) {
  AutoSchedule schedule;
  EXPECT_EQ(schedule.peer(), nullptr);
  schedule.adopt(schedule_called("peer:blocks=32"));
  ASSERT_NE(schedule.peer(), nullptr);
  EXPECT_EQ(schedule.peer()->blocks, 32);
}

TEST(Autotune, ranks_agree_and_what_was_chosen_sums) {
  run_ranks_as_threads(3, [](World& world) {
    const Choice choice = autotune(world, {.total_bytes = 4 << 20, .backward_s = 1e-3});
    EXPECT_FALSE(choice.schedule.empty());
    EXPECT_GT(choice.bucket_bytes, 0);
    EXPECT_GT(choice.rows.front().measured_sum_s, 0) << "the pick is verified";
    Control control(make_collectives(world.transport(60), schedule_named("recursive_doubling")));
    for (const std::string& each : control.gather(text_of(choice))) EXPECT_EQ(each, text_of(choice));
    auto schedule = std::make_shared<AutoSchedule>();
    schedule->adopt(schedule_called(choice.schedule));
    Summer summer(world, {"auto", schedule});
    expect_exact_sum<float>(summer, 1009);
  });
}

TEST(Autotune, a_forced_choice_is_kept) {
  run_ranks_as_threads(2, [](World& world) {
    const Choice choice = autotune(
        world, {.total_bytes = 1 << 20, .schedule = "double_tree:segment=4096", .bucket_bytes = 12345 * 4});
    EXPECT_EQ(choice.schedule, "double_tree:segment=4096");
    EXPECT_EQ(choice.bucket_bytes, 12345 * 4);
    EXPECT_EQ(choice.rows.size(), 1u);
    const std::string report = report_of(choice);
    EXPECT_NE(report.find("predicted"), std::string::npos);
    EXPECT_NE(report.find("measured"), std::string::npos);
  });
}

TEST(Autotune, the_same_task_is_answered_from_the_cache_another_is_not) {
  const std::string directory = testing::TempDir() + "/lockstep-autotune-cache";
  std::filesystem::remove_all(directory);
  run_ranks_as_threads(2, [&](World& world) {
    TuneTask task{.total_bytes = 1 << 20, .schedule = "ring", .cache_directory = directory};
    const Choice first = autotune(world, task);
    const Choice second = autotune(world, task);
    EXPECT_FALSE(first.from_cache);
    EXPECT_TRUE(second.from_cache);
    EXPECT_EQ(second.bucket_bytes, first.bucket_bytes);
    task.total_bytes *= 2;
    EXPECT_FALSE(autotune(world, task).from_cache);
  });
  std::filesystem::remove_all(directory);
}

TEST(Autotune, a_text_that_is_no_choice_is_refused) {
  EXPECT_THROW((void)choice_of("{}"), Error);
  EXPECT_THROW((void)choice_of("ring"), Error);
  EXPECT_EQ(choice_of(text_of({.schedule = "ring", .bucket_bytes = 8, .rows = {}})).schedule, "ring");
}

TEST(Auto, is_refused_where_bits_must_repeat) { EXPECT_FALSE(schedule_named("auto")->layout_invariant()); }

}  // namespace
}  // namespace lockstep::comm
