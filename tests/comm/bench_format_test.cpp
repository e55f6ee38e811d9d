// The columns of the benchmark's table, the keys of its JSON, and the sweep of sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "comm/bench_allreduce.h"
#include "comm/transport/report.h"
#include "comm/worlds.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

using Words = std::vector<std::string>;

std::vector<Words> words_by_line(const std::string& text) {
  std::vector<Words> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream parts(line);
    lines.emplace_back();
    for (std::string word; parts >> word;) lines.back().push_back(word);
  }
  return lines;
}

/// A row with numbers that print without rounding.
AllreduceRow row(const std::string& schedule = "ring") {
  return {.bytes = 4096,
          .count = 1024,
          .dtype = Dtype::f32,
          .schedule = schedule,
          .median_s = 0.0000125,
          .min_s = 0.00001,
          .spread = 0.25,
          .algbw = 2.5e9,
          .busbw = 3.75e9,
          .wrong = 7};
}

TEST(BenchTable, columns_carry_the_numbers_in_their_units) {
  const auto world = make_self_world();
  const auto lines = words_by_line(bench_table(*world, {row(), row("double_tree:segment=4096")}));
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[2], (Words{"#", "size", "count", "type", "schedule", "time", "min", "spread", "algbw",
                             "busbw", "#wrong"}));
  EXPECT_EQ(lines[3], (Words{"#", "(B)", "(elements)", "(us)", "(us)", "(%)", "(GB/s)", "(GB/s)"}));
  EXPECT_EQ(lines[4], (Words{"4096", "1024", "f32", "ring", "12.5", "10.0", "25.0", "2.500", "3.750", "7"}));
  EXPECT_EQ(lines[5][3], "double_tree:segment=4096");
}

TEST(BenchTable, contenders_add_ratios_of_the_least_disturbed_turns) {
  const auto world = make_self_world();
  AllreduceRow ours = row("shared"), slow = row("mpi_blocking"), fast = row("mpi_nonblocking"),
               copy = row("copy");
  ours.min_s = 10e-6;
  slow.min_s = 50e-6;
  fast.min_s = 25e-6;
  copy.min_s = 8e-6;
  const auto lines = words_by_line(bench_table(*world, {ours, slow, fast, copy}));
  EXPECT_EQ(lines[4], (Words{"4096", "1024", "f32", "shared", "12.5", "10.0", "25.0", "2.500", "3.750",
                             "2.50", "0.80", "7"}));
  EXPECT_EQ(lines[5][9], "0.50");
}

TEST(BenchTable, head_names_ranks_transport_and_host) {
  run_ranks_as_threads(3, [](World& world) {
    const std::string text = bench_table(world, {});
    const std::string head = "# all-reduce: 3 ranks, threads, rank 0 on " + this_host() +
                             ", where 3 may run on " + std::to_string(world.processors()) + " processors\n";
    EXPECT_EQ(text.find(head), 0U) << text;
    EXPECT_EQ(words_by_line(text).size(), 4U);
  });
}

TEST(BenchTable, columns_stay_aligned_whatever_the_numbers) {
  const auto world = make_self_world();
  auto small = row();
  auto large = row("halving_doubling");
  small.bytes = 8, small.count = 1, small.wrong = 0, small.median_s = 1e-7;
  large.bytes = 1LL << 33, large.count = 1LL << 31, large.median_s = 12.3;
  std::istringstream text(bench_table(*world, {small, large}));
  std::set<std::size_t> lengths;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line[0] == ' ') lengths.insert(line.size());
  }
  EXPECT_EQ(lengths.size(), 1U);
}

TEST(BenchJson, holds_every_key_with_its_unit) {
  const auto world = make_self_world();
  const auto json = nlohmann::json::parse(bench_json(*world, {row()}));
  EXPECT_EQ(json.at("ranks"), 1);
  EXPECT_EQ(json.at("world"), "self");
  EXPECT_EQ(json.at("host"), this_host());
  const auto& first = json.at("rows").at(0);
  const std::map<std::string, double> numbers = {{"bytes", 4096},      {"count", 1024},  {"time_us", 12.5},
                                                 {"min_us", 10},       {"spread", 0.25}, {"algbw_gb_s", 2.5},
                                                 {"busbw_gb_s", 3.75}, {"wrong", 7}};
  for (const auto& [key, value] : numbers) EXPECT_NEAR(first.at(key).get<double>(), value, 1e-9) << key;
  EXPECT_EQ(first.at("type"), "f32");
  EXPECT_EQ(first.at("schedule"), "ring");
  EXPECT_EQ(first.size(), 10U);
  EXPECT_TRUE(nlohmann::json::parse(bench_json(*world, {})).at("rows").empty());
}

std::vector<AllreduceRow> sweep(std::int64_t least, std::int64_t most, std::int64_t factor,
                                Dtype dtype = Dtype::f32) {
  const auto world = make_self_world();
  return bench_allreduce(*world, {.min_bytes = least,
                                  .max_bytes = most,
                                  .factor = factor,
                                  .warmup = 0,
                                  .iterations = 1,
                                  .dtype = dtype,
                                  .schedules = bench_schedules({"ring"})});
}

TEST(BenchSweep, sizes_grow_by_the_factor_and_stop_at_the_most) {
  std::vector<std::int64_t> bytes;
  for (const auto& each : sweep(8, 1000, 3)) bytes.push_back(each.bytes);
  EXPECT_EQ(bytes, (std::vector<std::int64_t>{8, 24, 72, 216, 648}));
  EXPECT_EQ(sweep(64, 64, 2).size(), 1U);
}

TEST(BenchSweep, sizes_are_whole_elements_and_at_least_one) {
  const auto odd = sweep(10, 10, 2);
  EXPECT_EQ(odd[0].bytes, 8);
  EXPECT_EQ(odd[0].count, 2);
  const auto less = sweep(1, 1, 2, Dtype::f64);
  EXPECT_EQ(less[0].bytes, 8);
  EXPECT_EQ(less[0].count, 1);
}

TEST(BenchSweep, alone_no_bus_is_used) {
  for (const auto& each : sweep(8, 4096, 8)) {
    EXPECT_EQ(each.busbw, 0);
    EXPECT_GT(each.algbw, 0);
    EXPECT_EQ(each.wrong, 0);
  }
}

TEST(BenchSweep, every_rank_has_the_same_rows) {
  std::vector<std::string> seen(3);
  run_ranks_as_threads(3, [&](World& world) {
    const auto rows =
        bench_allreduce(world, {.min_bytes = 8,
                                .max_bytes = 512,
                                .factor = 8,
                                .warmup = 1,
                                .iterations = 4,
                                .schedules = bench_schedules({"ring", "double_tree:segment=16"})});
    seen[static_cast<std::size_t>(world.rank())] = bench_json(world, rows);
  });
  EXPECT_EQ(seen[1], seen[0]);
  EXPECT_EQ(seen[2], seen[0]);
  EXPECT_NE(seen[0].find("double_tree:segment=16"), std::string::npos);
}

TEST(BenchSweep, sums_that_the_type_cannot_hold_exactly_are_refused) {
  // bf16 holds whole numbers up to 256; each rank adds up to 2.
  const auto refuse = [](int ranks) {
    std::string what;
    run_ranks_as_threads(ranks, [&](World& world) {
      AllreduceBench options{.max_bytes = 8, .schedules = {}};
      options.dtype = Dtype::bf16;
      try {
        (void)bench_allreduce(world, options);
      } catch (const Error& error) {
        if (world.rank() == 0) what = error.what();
      }
    });
    return what;
  };
  EXPECT_EQ(refuse(2), "");
  EXPECT_EQ(refuse(129), "sums over 129 ranks are not exact in bf16");
}

TEST(BenchNames, settings_are_separated_by_commas_and_each_needs_a_value) {
  for (const char* bad :
       {"ring:", "double_tree:segment=7,", "double_tree:segment=7,segment", "double_tree:segment=x", ""}) {
    EXPECT_THROW((void)bench_schedules({bad}), Error) << bad;
  }
  EXPECT_EQ(bench_schedules({"double_tree:segment=7"})[0].name, "double_tree:segment=7");
  std::set<std::string> names;
  for (const auto& each : bench_schedules({})) names.insert(each.name);
  EXPECT_EQ(names.size(), schedules().rows().size() - 1) << "every row but auto once, no two of one name";
}

TEST(ScheduleTable, every_row_says_what_it_is_and_its_settings_have_fallbacks) {
  for (const auto& each : schedules().rows()) {
    EXPECT_FALSE(each.summary.empty()) << each.name;
    EXPECT_NO_THROW((void)schedules().create(each.name, Options::of(each.settings))) << each.name;
    for (const Setting& setting : each.settings) EXPECT_FALSE(setting.meaning.empty()) << setting.key;
  }
}

}  // namespace
}  // namespace lockstep::comm
