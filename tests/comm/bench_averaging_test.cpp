// `bench allreduce --compress`: what is measured of compressed averages, held to what is known of them.
#include "comm/compress/bench_averaging.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "comm/bench_sweep.h"
#include "comm/compress/compressor.h"
#include "comm/named.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/broken.h"

namespace lockstep::comm {
namespace {

AveragingBench bench_of(const std::vector<std::string>& compressors, std::int64_t bytes) {
  return {.common = {.min_bytes = bytes,
                     .max_bytes = bytes,
                     .warmup = 0,
                     .iterations = 1,
                     .schedules = bench_schedules({"ring"})},
          .compressors = compressors};
}

/// Rank 0's rows.
std::vector<AveragingRow> rows_of(int ranks, const AveragingBench& options) {
  std::vector<AveragingRow> rows;
  run_ranks_as_threads(ranks, [&](World& world) {
    auto mine = bench_averaging(world, options);
    if (world.rank() == 0) rows = std::move(mine);
  });
  return rows;
}

std::vector<std::string> all_compressors() {
  std::vector<std::string> names;
  for (const auto& row : compressors().rows()) {
    if (row.name != "none" && row.name != "auto") names.emplace_back(row.name);
  }
  return names;
}

TEST(AveragingBench, every_compressor_sends_what_comes_back_at_any_size) {
  // 4 bytes to several blocks of 1024, whole and not; 4099 is prime: a matrix of one row.
  for (const std::int64_t count : {1, 2, 255, 4099, 6144}) {
    for (const int ranks : {1, 2, 3, 4}) {
      const auto rows = rows_of(ranks, bench_of(all_compressors(), 4 * count));
      ASSERT_EQ(rows.size(), all_compressors().size() + 1);
      for (const AveragingRow& row : rows) {
        const std::string where =
            row.compressor + ", " + std::to_string(count) + " of " + std::to_string(ranks);
        EXPECT_EQ(row.count, count);
        EXPECT_EQ(row.wrong.value_or(0), 0) << where;
        EXPECT_TRUE(std::isfinite(row.relative_error)) << where;
        EXPECT_GT(row.median_s, 0) << where;
        EXPECT_EQ(row.wire_bytes > 0, ranks > 1) << where;
      }
    }
  }
}

TEST(AveragingBench, elements_are_judged_where_a_residual_tells_what_was_sent) {
  const auto rows =
      rows_of(2, bench_of({"shared_grid", "int4", "bf16", "dgc", "shared_topk:filter=0.5"}, 4096));
  for (const AveragingRow& row : rows) {
    const bool told = row.compressor == "none" || row.compressor == "shared_grid" || row.compressor == "int4";
    EXPECT_EQ(row.wrong.has_value(), told) << row.compressor;
  }
}

TEST(AveragingBench, codes_that_were_not_all_added_are_counted_wrong) {
  auto options = bench_of({"shared_grid", "shared_grid:bits=16", "random_k"}, 16384);
  options.common.schedules = {{"broken", std::make_shared<Broken>()}};
  const auto rows = rows_of(3, options);
  for (const AveragingRow& row : rows) {
    // The expectation travels by the same broken sum, so it agrees with the exact sum's fault.
    EXPECT_EQ(*row.wrong > 0, row.compressor != "none") << row.compressor;
    EXPECT_GT(row.relative_error, 0.01) << row.compressor;
  }
}

// The reference's simulation of the two-shot pattern on such values: int8 .019 at 2 ranks and .017 at 4, bf16
// .0024 and .0021, fp16 2.9e-4; a grid whose sums fit int8 .072 at 4 (on blocks; one grid for all is worse).
TEST(AveragingBench, errors_are_those_that_the_reference_found) {
  for (const int ranks : {2, 4}) {
    const auto rows = rows_of(ranks, bench_of({"int8", "bf16", "fp16", "int4:rotate=false"}, 1 << 18));
    EXPECT_LT(rows[0].relative_error, 1e-7);
    EXPECT_NEAR(rows[0].cosine, 1, 1e-12);
    EXPECT_NEAR(rows[1].relative_error, ranks == 2 ? .019 : .017, .002);
    EXPECT_NEAR(rows[2].relative_error, .0023, .0003);
    EXPECT_NEAR(rows[3].relative_error, 2.9e-4, 3e-5);
    EXPECT_NEAR(rows[4].relative_error, .31, .03);
    // What rounding adds stands at a right angle: cos = 1 / sqrt(1 + error^2), nearly.
    EXPECT_NEAR(rows[4].cosine, 1 / std::sqrt(1 + rows[4].relative_error * rows[4].relative_error), .01);
  }
}

TEST(AveragingBench, bytes_follow_from_the_payload) {
  const std::int64_t count = 1 << 16;
  const auto rows = rows_of(4, bench_of({"int8", "bf16", "shared_grid"}, 4 * count));
  const std::int64_t ring = 2 * 3 * count / 4;  // elements that each of 4 ranks sends
  EXPECT_EQ(rows[0].wire_bytes, 4 * ring);
  EXPECT_EQ(rows[1].wire_bytes, ring + ring / 256 * 2)
      << "a byte each, and 2 for the scale of a block of 256";
  EXPECT_EQ(rows[2].wire_bytes, 2 * ring);
  EXPECT_EQ(rows[3].wire_bytes, ring + 3 * 4 * count / 1024)
      << "a byte each, and this rank's largest of every block of 1024 to three";
  EXPECT_DOUBLE_EQ(rows[2].ratio, 2);
  EXPECT_EQ(rows[0].ratio, 1);
  EXPECT_EQ(rows[0].speedup, 1);
  for (const AveragingRow& row : rows) {
    EXPECT_DOUBLE_EQ(row.algbw, 4.0 * static_cast<double>(count) / row.median_s);
    EXPECT_DOUBLE_EQ(row.speedup, rows[0].median_s / row.median_s);
    EXPECT_EQ(row.encode_s > 0, row.compressor != "none");
    EXPECT_LE(row.min_s, row.median_s);
  }
}

TEST(AveragingBench, every_rank_has_the_same_rows) {
  std::vector<std::string> seen(3);
  run_ranks_as_threads(3, [&](World& world) {
    auto options = bench_of({"none", "int8", "powersgd:rank=1"}, 64);
    options.common.max_bytes = 4096;
    options.common.factor = 64;
    options.common.schedules = bench_schedules({"shared", "ring"});
    const auto rows = bench_averaging(world, options);
    EXPECT_EQ(rows.size(), 2u * 2 * 3) << "schedules, sizes, and none but once";
    seen[static_cast<std::size_t>(world.rank())] = averaging_json(world, rows);
  });
  EXPECT_EQ(seen[1], seen[0]);
  EXPECT_EQ(seen[2], seen[0]);
}

TEST(AveragingBench, impossible_options_are_refused) {
  const auto world = make_self_world();
  const auto refused = [&](auto change) {
    auto options = bench_of({"int8"}, 64);
    change(options);
    EXPECT_THROW(static_cast<void>(bench_averaging(*world, options)), Error);
  };
  refused([](AveragingBench& options) { options.common.dtype = Dtype::bf16; });
  refused([](AveragingBench& options) { options.common.iterations = 0; });
  refused([](AveragingBench& options) { options.compressors = {"int9"}; });
  refused([](AveragingBench& options) { options.compressors = {"auto"}; });
  refused([](AveragingBench& options) { options.compressors = {"int8:rounding"}; });
  refused([](AveragingBench& options) { options.compressors = {"int8:raunding=nearest"}; });
}

TEST(AveragingBench, table_and_json_say_the_same) {
  const auto world = make_self_world();
  AveragingRow row{.bytes = 4096, .count = 1024, .schedule = "ring", .compressor = "int8"};
  row.median_s = 12.5e-6, row.min_s = 10e-6, row.spread = 0.25, row.algbw = 2.5e9, row.speedup = 1.5;
  row.wire_bytes = 1032, row.ratio = 3.97, row.encode_s = 2e-6, row.decode_s = 3e-6;
  row.relative_error = 0.0191, row.cosine = 0.99982;
  AveragingRow judged = row;
  judged.wrong = 7;
  const std::string table = averaging_table(*world, {row, judged});
  const std::string line =
      "4096 1024 ring int8 12.5 10.0 25.0 2.500 1.50 1032 3.97 2.0 3.0 1.91e-02 0.99982 ";
  std::string squeezed;
  for (const char c : table) {
    if (c != ' ' || squeezed.empty() || squeezed.back() != ' ') squeezed += c;
  }
  EXPECT_NE(squeezed.find(line + "-\n"), std::string::npos) << squeezed;
  EXPECT_NE(squeezed.find(line + "7\n"), std::string::npos) << squeezed;
  const auto json = nlohmann::json::parse(averaging_json(*world, {row, judged}));
  const auto& first = json.at("rows").at(0);
  const std::map<std::string, double> numbers = {
      {"bytes", 4096},    {"count", 1024},     {"time_us", 12.5}, {"min_us", 10},
      {"spread", 0.25},   {"algbw_gb_s", 2.5}, {"speedup", 1.5},  {"wire_bytes", 1032},
      {"ratio", 3.97},    {"encode_us", 2},    {"decode_us", 3},  {"relative_error", 0.0191},
      {"cosine", 0.99982}};
  for (const auto& [key, value] : numbers) EXPECT_NEAR(first.at(key).get<double>(), value, 1e-9) << key;
  EXPECT_EQ(first.size(), numbers.size() + 3);
  EXPECT_TRUE(first.at("wrong").is_null());
  EXPECT_EQ(json.at("rows").at(1).at("wrong"), 7);
}

TEST(NamedParts, a_list_keeps_settings_with_their_part) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(split_parts("int8"), Words{"int8"});
  EXPECT_EQ(split_parts("int8,bf16"), (Words{"int8", "bf16"}));
  EXPECT_EQ(split_parts("int4:rounding=nearest,rotate=false,powersgd:rank=2,bf16"),
            (Words{"int4:rounding=nearest,rotate=false", "powersgd:rank=2", "bf16"}));
  EXPECT_EQ(split_parts("a=b"), Words{"a=b"}) << "nobody's setting: refused as a name";
  const NamedPart part = named_part("thing", "x:a=1,b=2=3");
  EXPECT_EQ(part.name, "x");
  ASSERT_EQ(part.settings.size(), 2u);
  EXPECT_EQ(part.settings[1], std::make_pair(std::string("b"), std::string("2=3")));
  EXPECT_THROW((void)named_part("thing", "x:a=1,b"), Error);
}

TEST(TimeSummary, medians_and_quartiles_of_known_times) {
  const TimeSummary even = summary_of({4, 1, 3, 2});
  EXPECT_EQ(even.median_s, 2.5);
  EXPECT_EQ(even.min_s, 1);
  const TimeSummary odd = summary_of({5, 1, 4, 2, 3});
  EXPECT_EQ(odd.median_s, 3);
  EXPECT_DOUBLE_EQ(odd.spread, (4.0 - 2.0) / 3.0);
  EXPECT_EQ(summary_of({7}).spread, 0);
}

}  // namespace
}  // namespace lockstep::comm
