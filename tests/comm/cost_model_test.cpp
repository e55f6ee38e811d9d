// What the choice of an all-reduce is computed from: the line through measured points, the seconds of a plan
// against the formulas of the papers, and the seconds of a step whose sums overlap its backward.
#include "comm/autotune/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/comm/plans.h"

namespace lockstep::comm {
namespace {

using Points = std::vector<std::pair<double, double>>;

Points on_line(const Line& line, const std::vector<double>& sizes) {
  Points points;
  for (const double bytes : sizes) points.emplace_back(bytes, line.at(bytes));
  return points;
}

double relative_error(const Line& line, const Points& points) {
  double sum = 0;
  for (const auto& [bytes, seconds] : points) sum += std::pow((line.at(bytes) - seconds) / seconds, 2);
  return sum;
}

TEST(FittedLine, points_on_a_line_give_it_back_from_shared_memory_to_a_slow_wire) {
  for (const double latency_s : {2e-7, 3e-6, 5e-5, 2e-3}) {
    for (const double s_per_byte : {5e-11, 1e-9, 8e-8}) {
      const Line line = fit_line(on_line({latency_s, s_per_byte}, {4, 4096, 65536, 1 << 20}));
      EXPECT_NEAR(line.latency_s, latency_s, 1e-6 * latency_s);
      EXPECT_NEAR(line.s_per_byte, s_per_byte, 1e-6 * s_per_byte);
    }
  }
}

TEST(FittedLine, does_not_depend_on_the_order_of_points_and_follows_the_unit_of_time) {
  Points points{{4, 3.1e-6}, {4096, 3.6e-6}, {65536, 1.1e-5}, {1 << 20, 1.2e-4}};
  const Line line = fit_line(points);
  std::ranges::reverse(points);
  EXPECT_NEAR(fit_line(points).latency_s, line.latency_s, 1e-18);
  for (auto& point : points) point.second *= 1e3;
  EXPECT_NEAR(fit_line(points).latency_s, 1e3 * line.latency_s, 1e-12);
  EXPECT_NEAR(fit_line(points).s_per_byte, 1e3 * line.s_per_byte, 1e-18);
}

TEST(FittedLine, no_line_nearby_has_a_smaller_relative_error) {
  const Points points{{4, 3.3e-6}, {4096, 3.4e-6}, {65536, 1.3e-5}, {1 << 20, 1.1e-4}};
  const Line best = fit_line(points);
  const double least = relative_error(best, points);
  for (const double latency : {0.9, 0.99, 1.0, 1.01, 1.1}) {
    for (const double slope : {0.9, 0.99, 1.0, 1.01, 1.1}) {
      const Line other{latency * best.latency_s, slope * best.s_per_byte};
      EXPECT_GE(relative_error(other, points), least * (1 - 1e-12)) << latency << " " << slope;
    }
  }
}

// A message of 1 MiB took a tenth longer than the line says. Absolute errors would make the latency four
// times what it is, to hide a part of that.
TEST(FittedLine, small_messages_count_as_much_as_large_ones) {
  Points points = on_line({1e-5, 1e-9}, {4, 4096, 1 << 20, 1 << 24});
  points[2].second *= 1.1;
  EXPECT_NEAR(fit_line(points).latency_s, 1e-5, 0.03e-5);
  double x = 0, t = 0, xx = 0, xt = 0;  // negative control: plain least squares
  for (const auto& [bytes, seconds] : points) {
    x += bytes / 4;
    t += seconds / 4;
    xx += bytes * bytes / 4;
    xt += bytes * seconds / 4;
  }
  EXPECT_GT(t - (xt - x * t) / (xx - x * x) * x, 3e-5);
}

TEST(FittedLine, one_size_is_all_latency_and_no_points_are_nothing) {
  const Line single = fit_line(Points{{4096, 5e-6}});
  EXPECT_DOUBLE_EQ(single.at(4096), 5e-6);
  EXPECT_EQ(single.s_per_byte, 0);
  EXPECT_EQ(fit_line(Points{}).at(1e9), 0);
}

CostModel link(double latency_s, double s_per_byte, double add_s_per_byte = 0) {
  return {.inside = {latency_s, s_per_byte},
          .across = {latency_s, s_per_byte},
          .add_s_per_byte = add_s_per_byte,
          .whole = {}};
}

double seconds(const CostModel& model, const std::string& name, const Topology& topology,
               std::int64_t bytes) {
  return predicted_s(model, name, *schedule_called(name), topology, bytes);
}

TEST(PredictedSum, ring_costs_its_formula_at_any_number_of_ranks) {
  const CostModel model = link(7e-6, 2e-9, 3e-10);
  for (const int ranks : {1, 2, 3, 4, 5, 7, 8, 13}) {
    const std::int64_t bytes = 4 * 1000 * ranks;
    const double steps = ranks - 1, n = static_cast<double>(bytes), p = ranks;
    const double formula = 2 * steps * 7e-6 + 2 * steps / p * n * 2e-9 + steps / p * n * 3e-10;
    EXPECT_NEAR(seconds(model, "ring", ranks, bytes), formula, 1e-12) << ranks << " ranks";
  }
}

TEST(PredictedSum, halving_and_doubling_cost_their_formulas_at_powers_of_two) {
  const CostModel model = link(7e-6, 2e-9, 3e-10);
  for (const int rounds : {1, 2, 3, 4}) {
    const int ranks = 1 << rounds;
    const std::int64_t bytes = 4 * 1000 * ranks;
    const double n = static_cast<double>(bytes), part = (ranks - 1.0) / ranks;
    EXPECT_NEAR(seconds(model, "recursive_doubling", ranks, bytes), rounds * (7e-6 + n * 2e-9 + n * 3e-10),
                1e-12);
    EXPECT_NEAR(seconds(model, "halving_doubling", ranks, bytes),
                2 * rounds * 7e-6 + 2 * part * n * 2e-9 + part * n * 3e-10, 1e-12);
  }
}

// 8 ranks: ring 14 a + 1.75 n b, recursive doubling 3 a + 3 n b. They meet at n = 11 a / (1.25 b).
TEST(PredictedSum, schedules_change_places_at_the_size_that_their_formulas_say) {
  for (const double latency_s : {1e-6, 30e-6}) {
    const CostModel model = link(latency_s, 1e-9);
    const auto meet = static_cast<std::int64_t>(11 * latency_s / 1.25e-9) / 32 * 32;
    const auto ring_is_faster = [&](std::int64_t bytes) {
      return seconds(model, "ring", 8, bytes) < seconds(model, "recursive_doubling", 8, bytes);
    };
    EXPECT_FALSE(ring_is_faster(meet - 320)) << latency_s;
    EXPECT_TRUE(ring_is_faster(meet + 320)) << latency_s;
  }
}

TEST(PredictedSum, never_falls_with_size_latency_bandwidth_or_the_price_of_adding) {
  for (const NamedSchedule& each : all_schedules()) {
    for (const int ranks : {2, 3, 5, 8}) {
      const auto cost = [&](const CostModel& model, std::int64_t bytes) {
        return predicted_s(model, each.name, *each.schedule, ranks, bytes);
      };
      const CostModel model = link(5e-6, 1e-9, 1e-10);
      double before = 0;
      for (const std::int64_t bytes : {0, 4, 4 * 97, 4 * 1009, 4 * 20011}) {
        const double now = cost(model, bytes);
        EXPECT_GE(now, before) << each.name << ", " << ranks << " ranks, " << bytes;
        EXPECT_GE(cost(link(6e-6, 1e-9, 1e-10), bytes), now) << each.name;
        EXPECT_GE(cost(link(5e-6, 2e-9, 1e-10), bytes), now) << each.name;
        EXPECT_GE(cost(link(5e-6, 1e-9, 2e-10), bytes), now) << each.name;
        before = now;
      }
      EXPECT_GT(before, 0) << each.name;
    }
  }
}

TEST(PredictedSum, nobody_to_talk_to_or_nothing_to_say_costs_nothing) {
  const CostModel model = link(5e-6, 1e-9, 1e-10);
  for (const NamedSchedule& each : all_schedules()) {
    EXPECT_EQ(predicted_s(model, each.name, *each.schedule, 1, 4096), 0) << each.name;
    EXPECT_EQ(predicted_s(model, each.name, *each.schedule, 4, 0), 0) << each.name;
  }
}

TEST(PredictedSum, measured_whole_sums_win_over_the_plan) {
  CostModel model = link(5e-6, 1e-9);
  model.whole["library"] = {1e-3, 1e-12};
  EXPECT_DOUBLE_EQ(seconds(model, "library", 4, 1'000'000), 1e-3 + 1e-6);
  EXPECT_DOUBLE_EQ(seconds(model, "ring", 4, 4000), seconds(link(5e-6, 1e-9), "ring", 4, 4000));
}

// Ranks on two nodes, one message each way: only what crosses pays the slow link.
TEST(PredictedSum, a_message_pays_the_link_that_it_takes) {
  CostModel model = link(1e-6, 1e-10);
  model.across = {50e-6, 1e-8};
  const std::int64_t bytes = 4 * 1000;
  EXPECT_NEAR(seconds(model, "recursive_doubling", Topology(std::vector<int>{0, 0}), bytes), 1e-6 + 4e-7,
              1e-12);
  EXPECT_NEAR(seconds(model, "recursive_doubling", Topology(std::vector<int>{0, 1}), bytes), 50e-6 + 4e-5,
              1e-12);
  // Neighbours first, then across: the order of rounds does not matter, the slowest rank of each does.
  for (const auto& nodes : {std::vector<int>{0, 0, 1, 1}, std::vector<int>{0, 1, 0, 1}}) {
    EXPECT_NEAR(seconds(model, "recursive_doubling", Topology(nodes), bytes), 51e-6 + 4.04e-5, 1e-12);
  }
}

/// Sums of so many bytes take a latency and a rate.
auto sums(double latency_s, double s_per_byte) {
  return [=](std::int64_t bytes) { return latency_s + s_per_byte * static_cast<double>(bytes); };
}

TEST(PredictedStep, lies_between_the_longer_of_both_and_their_sum) {
  for (const double backward_s : {0.0, 1e-3, 0.05, 1.0}) {
    for (const std::int64_t bucket : {1'000, 77'777, 1'000'000, 64'000'000}) {
      constexpr std::int64_t kTotal = 10'000'019;
      double all = 0;
      const auto counted = [&](std::int64_t bytes) {
        const double each = sums(1e-5, 1e-9)(bytes);
        all += each;
        return each;
      };
      const double step = predicted_step_s(backward_s, kTotal, bucket, 1'000, counted);
      EXPECT_GE(step, std::max(backward_s, all) * (1 - 1e-12)) << bucket;
      EXPECT_LE(step, (backward_s + all) * (1 + 1e-12)) << bucket;
    }
  }
}

TEST(PredictedStep, buckets_tile_the_gradients_with_a_first_of_its_own_size) {
  std::vector<std::int64_t> asked;
  const auto note = [&](std::int64_t bytes) {
    asked.push_back(bytes);
    return 0.0;
  };
  EXPECT_EQ(predicted_step_s(0.5, 1003, 250, 100, note), 0.5);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{100, 250, 250, 250, 153}));
  asked.clear();
  EXPECT_EQ(predicted_step_s(0.5, 0, 250, 100, note), 0.5);
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(predicted_step_s(0.0, 99, 250, 100, note), 0.0);
  EXPECT_EQ(asked, std::vector<std::int64_t>{99});
}

// With a latency the middle is best: tiny buckets pay it too often, one bucket overlaps nothing.
TEST(PredictedStep, neither_the_smallest_nor_the_largest_bucket_is_best) {
  constexpr std::int64_t kTotal = 1 << 26;
  const auto step = [&](std::int64_t bucket) {
    return predicted_step_s(0.08, kTotal, bucket, bucket, sums(1e-4, 1e-9));
  };
  EXPECT_LT(step(1 << 22), step(1 << 14));
  EXPECT_LT(step(1 << 22), step(1 << 26));
  // Negative control: without a latency small is never worse.
  const auto free_of_latency = [&](std::int64_t bucket) {
    return predicted_step_s(0.08, kTotal, bucket, bucket, sums(0, 1e-9));
  };
  EXPECT_LE(free_of_latency(1 << 14), free_of_latency(1 << 22));
}

}  // namespace
}  // namespace lockstep::comm
