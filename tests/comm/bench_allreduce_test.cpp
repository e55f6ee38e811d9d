#include "comm/bench_allreduce.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/broken.h"

namespace lockstep::comm {
namespace {

AllreduceBench small_bench(const std::vector<std::string>& names = {}) {
  return {.min_bytes = 8,
          .max_bytes = 2048,
          .factor = 16,
          .warmup = 1,
          .iterations = 3,
          .schedules = bench_schedules(names)};
}

/// Rank 0's rows.
std::vector<AllreduceRow> rows_of(int ranks, const AllreduceBench& options) {
  std::vector<AllreduceRow> rows;
  run_ranks_as_threads(ranks, [&](World& world) {
    auto mine = bench_allreduce(world, options);
    if (world.rank() == 0) rows = std::move(mine);
  });
  return rows;
}

TEST(Bench, every_schedule_at_every_size_is_right_in_every_type) {
  for (Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::i32}) {
    auto options = small_bench();
    options.dtype = dtype;
    for (int ranks : {1, 2, 3}) {
      const auto rows = rows_of(ranks, options);
      ASSERT_EQ(rows.size(), 3 * bench_schedules({}).size());
      for (const AllreduceRow& row : rows) {
        EXPECT_EQ(row.wrong, 0) << row.schedule;
        EXPECT_EQ(row.count * static_cast<std::int64_t>(size_of(dtype)), row.bytes);
        EXPECT_GT(row.median_s, 0);
        EXPECT_LE(row.min_s, row.median_s);
        EXPECT_DOUBLE_EQ(row.algbw, static_cast<double>(row.bytes) / row.median_s);
        EXPECT_DOUBLE_EQ(row.busbw, row.algbw * 2 * (ranks - 1) / ranks);
      }
    }
  }
}

TEST(Bench, a_schedule_that_forgets_a_round_is_counted_wrong) {
  auto options = small_bench({"ring"});
  options.schedules = {{"broken", std::make_shared<Broken>()}};
  for (const AllreduceRow& row : rows_of(3, options)) EXPECT_GT(row.wrong, 0) << row.bytes;
}

TEST(Bench, contenders_take_turns_and_are_verified_when_they_sum) {
  auto options = small_bench({"ring"});
  options.beside = {{"right", [](FlatSpan) {}, false}, {"wrong", [](FlatSpan) {}, true}};
  const auto rows = rows_of(2, options);
  for (const AllreduceRow& row : rows) {
    EXPECT_EQ(row.wrong > 0, row.schedule == "wrong") << row.schedule << ", " << row.bytes;
    EXPECT_GE(row.median_s, row.min_s);
  }
  EXPECT_EQ(rows.size() % 3, 0u);
}

TEST(Bench, own_and_lent_memory_give_the_same_sums) {
  for (const bool lent : {true, false}) {
    auto options = small_bench({"shared"});
    options.lent_memory = lent;
    for (const AllreduceRow& row : rows_of(3, options)) EXPECT_EQ(row.wrong, 0) << row.bytes;
  }
}

TEST(Bench, settings_may_follow_the_name) {
  const auto chosen = bench_schedules({"double_tree:segment=10", "ring"});
  ASSERT_EQ(chosen.size(), 2u);
  EXPECT_EQ(chosen[0].name, "double_tree:segment=10");
  EXPECT_EQ(chosen[0].schedule->stated_cost(0, 2, 1000).rounds, 50 + 1);
  EXPECT_THROW(bench_schedules({"double_tree:segmnt=10"}), Error);
  EXPECT_THROW(bench_schedules({"double_tree:segment"}), Error);
  EXPECT_THROW(bench_schedules({"rong"}), Error);
}

TEST(Bench, impossible_options_are_refused) {
  const auto world = make_self_world();
  const auto refused = [&](auto change) {
    auto options = small_bench({"ring"});
    change(options);
    EXPECT_THROW(static_cast<void>(bench_allreduce(*world, options)), Error);
  };
  refused([](AllreduceBench& options) { options.min_bytes = 0; });
  refused([](AllreduceBench& options) { options.max_bytes = 4; });
  refused([](AllreduceBench& options) { options.factor = 1; });
  refused([](AllreduceBench& options) { options.iterations = 0; });
  refused([](AllreduceBench& options) { options.dtype = Dtype::u8; });
}

TEST(Bench, table_and_json_say_the_same) {
  run_ranks_as_threads(2, [&](World& world) {
    const auto rows = bench_allreduce(world, small_bench({"ring", "halving_doubling"}));
    if (world.rank() != 0) return;
    const std::string table = bench_table(world, rows);
    for (const char* word : {"algbw", "busbw", "#wrong", "halving_doubling", "2 ranks"}) {
      EXPECT_NE(table.find(word), std::string::npos) << word;
    }
    const auto json = nlohmann::json::parse(bench_json(world, rows));
    EXPECT_EQ(json.at("ranks"), 2);
    ASSERT_EQ(json.at("rows").size(), rows.size());
    EXPECT_EQ(json.at("rows")[1].at("schedule"), "halving_doubling");
    EXPECT_EQ(json.at("rows")[0].at("bytes"), 8);
    EXPECT_EQ(json.at("rows")[0].at("wrong"), 0);
  });
}

}  // namespace
}  // namespace lockstep::comm
