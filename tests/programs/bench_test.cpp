// `lockstep bench`: the columns and JSON of measurements, checked sums, and figures that fit each other.
#include <algorithm>
#include <map>
#include <set>

#include "comm/bench_allreduce.h"
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

std::set<std::string> schedule_names() {
  std::set<std::string> names;
  for (const auto& each : comm::bench_schedules({})) names.emplace(each.name);
  return names;
}

class Bench : public ProgramTest {
 protected:
  /// The rows of `bench allreduce` over 2 or more ranks.
  Json rows(const std::string& words, int ranks = 2) const {
    run("$MPI -n " + std::to_string(ranks) + " $L bench allreduce -n 2 -w 1 --json " + file("b.json") + " " +
        words);
    const Json all = json_of(file("b.json"));
    EXPECT_EQ(all.at("ranks"), ranks);
    EXPECT_FALSE(all.at("host").get<std::string>().empty());
    return all.at("rows");
  }
};

TEST_F(Bench, allreduce_table_has_nccl_tests_columns_and_no_wrong_element) {
  const std::string table = run("$MPI -n 3 $L bench allreduce --min 8 --max 4K --factor 8 -n 2");
  for (const char* column : {"# all-reduce: 3 ranks", "size", "count", "type", "schedule", "time", "algbw",
                             "busbw", "#wrong", "(us)", "(GB/s)"})
    EXPECT_PRED2(holds, table, column);
  std::istringstream lines(table);
  int seen = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    EXPECT_EQ(line.substr(line.find_last_of(' ') + 1), "0") << line;
    ++seen;
  }
  EXPECT_EQ(seen, 4 * static_cast<int>(schedule_names().size())) << "4 sizes of every schedule";
}

TEST_F(Bench, every_schedule_and_type_sums_correctly_at_every_size) {
  for (const char* type : {"f32", "f64", "bf16", "i32"}) {
    std::set<std::string> schedules;
    for (const Json& row : rows(std::string("--min 8 --max 64K --factor 16 --type ") + type, 3)) {
      EXPECT_EQ(row.at("wrong"), 0) << row.dump();
      EXPECT_EQ(row.at("type"), type);
      schedules.insert(row.at("schedule"));
    }
    EXPECT_EQ(schedules, schedule_names());
  }
}

TEST_F(Bench, bandwidths_follow_from_bytes_time_and_ranks) {
  for (const int ranks : {2, 4}) {
    for (const Json& row : rows("--min 1K --max 1M --factor 32 --schedule ring", ranks)) {
      const double bytes = row.at("bytes"), seconds = row.at("time_us").get<double>() * 1e-6;
      const double algbw = row.at("algbw_gb_s"), busbw = row.at("busbw_gb_s");
      EXPECT_EQ(bytes, 4 * row.at("count").get<double>());
      EXPECT_NEAR(algbw, bytes / seconds * 1e-9, 1e-6 * algbw);
      EXPECT_NEAR(busbw, algbw * 2 * (ranks - 1) / ranks, 1e-6 * busbw);
      EXPECT_LE(row.at("min_us"), row.at("time_us"));
    }
  }
}

TEST_F(Bench, the_librarys_own_calls_are_measured_beside) {
  std::set<std::string> names;
  for (const Json& row : rows("--min 1K --max 1K --schedule shared --beside")) {
    names.insert(row.at("schedule"));
    EXPECT_EQ(row.at("wrong"), 0) << row.dump();
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"copy", "mpi_16_buckets", "mpi_blocking", "mpi_nonblocking", "shared"}));
}

TEST_F(Bench, compressors_are_measured_beside_the_exact_sum) {
  std::map<std::string, Json> seen;
  for (const Json& row :
       rows("--min 64K --max 64K --compress int8,shared_grid,int4:rotate=false,feedback=true"))
    seen[row.at("compressor")] = row;
  ASSERT_EQ(seen.size(), 4);
  EXPECT_EQ(seen.at("none").at("wire_bytes"), 65536);
  EXPECT_EQ(seen.at("none").at("wrong"), 0);
  EXPECT_EQ(seen.at("shared_grid").at("wrong"), 0);
  EXPECT_NEAR(seen.at("int8").at("ratio"), 3.97, 0.01);
  EXPECT_NEAR(seen.at("int8").at("relative_error"), 0.019, 0.002);
  EXPECT_NEAR(seen.at("int4:rotate=false,feedback=true").at("ratio"), 7.88, 0.01);
  EXPECT_PRED2(holds, run("$L bench allreduce --compress bf16 --max 8 -n 1"),
               "compressed average of f32: 1 ranks");
  for (const char* words : {"--compress int9", "--compress int8 --beside", "--compress int8 --type bf16"})
    expect_refused(shell(std::string("$L bench allreduce --max 8 ") + words, 20), 2, {});
}

TEST_F(Bench, sizes_run_from_min_to_max_by_the_factor) {
  std::vector<int> sizes;
  for (const Json& row : rows("--min 16 --max 1K --factor 4 --schedule ring"))
    sizes.push_back(row.at("bytes"));
  EXPECT_EQ(sizes, (std::vector<int>{16, 64, 256, 1024}));
}

TEST_F(Bench, a_schedule_may_carry_settings_and_be_repeated) {
  std::set<std::string> names;
  for (const Json& row : rows("--max 8 --schedule double_tree:segment=4096 --schedule ring"))
    names.insert(row.at("schedule"));
  EXPECT_EQ(names, (std::set<std::string>{"double_tree:segment=4096", "ring"}));
}

TEST_F(Bench, costs_are_those_of_the_named_schedules) {
  const std::string costs = run("$L bench allreduce --costs --schedule ring,torus2d:width=3");
  EXPECT_EQ(std::count(costs.begin(), costs.end(), '\n'), 4) << costs;
  EXPECT_PRED2(holds, costs, "| `ring` | 2: 1.00 |");
  EXPECT_PRED2(holds, costs, "| `torus2d:width=3` | - |");
}

TEST_F(Bench, impossible_options_are_refused_before_anything_is_timed) {
  for (const char* words : {"--min 1M --max 1K", "--factor 1", "--iterations 0", "--type u8"})
    expect_refused(shell(std::string("$L bench allreduce ") + words, 20), 2, {});
  expect_refused(shell("$L bench allreduce --max 8 -n 1 --json /nowhere/b.json"), 2,
                 {"/nowhere/b.json", "--json"});
}

TEST_F(Bench, sizes_are_numbers_with_a_unit_and_nothing_else) {
  for (const char* size :
       {"1.2.3M", ".", "K", "", "8M8", "-8", "8 M", "99999999999G", "8T", "1e3", "nan", "inf", "0x10"})
    expect_refused(shell("$L bench allreduce --schedule ring -n 1 --max '" + std::string(size) + "'", 20), 2,
                   {"'" + std::string(size) + "' is not a size"});
}

TEST_F(Bench, sizes_may_be_parts_of_a_unit) {
  const std::string words =
      "$L bench allreduce --schedule ring -n 1 -w 0 --factor 2147483647 --json " + file("b.json");
  for (const auto& [size, bytes] : std::vector<std::pair<std::string, int>>{
           {"8", 8}, {"1.5K", 1536}, {"0.5KiB", 512}, {"1K", 1024}, {"0.0625M", 65536}}) {
    run(words + " --min " + size + " --max " + size);
    const Json rows = json_of(file("b.json")).at("rows");
    ASSERT_EQ(rows.size(), 1) << size;
    EXPECT_EQ(rows.at(0).at("bytes"), bytes) << size;
  }
}

/// Measures the peak first, which would take the reference long.
class BenchStep : public Bench {
 protected:
  void SetUp() override {
    if (std::string(LOCKSTEP_TEST_DEVICE) != "cpu") GTEST_SKIP() << "no cpu backend in this build";
  }
};

TEST_F(BenchStep, table_and_json_tell_the_same_kernels) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  const std::string table = run("$L bench step " + file("c.yaml") + " -n 2 --json " + file("s.json"));
  for (const char* part :
       {"kernel", "GFLOP/s", "kernels alone", "step / (convolutions + products + norms)", "peak"})
    EXPECT_PRED2(holds, table, part);
  const Json all = json_of(file("s.json"));
  for (const Json& kernel : all.at("kernels")) {
    EXPECT_PRED2(holds, table, kernel.at("name").get<std::string>());
    EXPECT_PRED2(holds, table, kernel.at("operations").get<std::string>());
  }
}

TEST_F(BenchStep, json_adds_up) {
  write_gpt("c.yaml");
  run("$L bench step " + file("c.yaml") + " --rounds 3 --json " + file("s.json"));
  const Json all = json_of(file("s.json"));
  double flops = 0;
  for (const Json& kernel : all.at("kernels")) {
    flops += kernel.at("forward_flops").get<double>() + kernel.at("backward_flops").get<double>();
    EXPECT_GE(kernel.at("forward_ms").get<double>(), 0);
  }
  const double step = all.at("step_ms").at("median");
  EXPECT_NEAR(all.at("step_flops").get<double>(), flops, 1e-9 * flops);
  EXPECT_NEAR(all.at("gflop_per_s").get<double>(), flops / step * 1e-6, 1e-6 * flops / step * 1e-6);
  EXPECT_LE(all.at("step_ms").at("min").get<double>(), step);
  EXPECT_GE(all.at("step_ms").at("max").get<double>(), step);
  EXPECT_EQ(all.at("convolutions_ms"), 0) << "a GPT has none";
  EXPECT_GT(all.at("peak_gflop_per_s").get<double>(), 0.1);
}

TEST_F(BenchStep, ratio_of_one_round_is_step_by_kernels) {
  write_gpt("c.yaml");
  run("$L bench step " + file("c.yaml") + " --rounds 1 --json " + file("s.json"));
  const Json all = json_of(file("s.json"));
  const double step = all.at("step_ms").at("median");
  const double alone = all.at("convolutions_ms").get<double>() + all.at("products_ms").get<double>() +
                       all.at("norms_ms").get<double>();
  EXPECT_NEAR(all.at("ratio").get<double>(), step / alone, 1e-6 * step / alone);
}

TEST_F(BenchStep, no_rounds_are_refused) {
  write_images("c.yaml", "{name: mlp}");
  expect_refused(shell("$L bench step " + file("c.yaml") + " -n 0"), 2, {"0 rounds"});
}

TEST_F(BenchStep, overrides_reach_the_step) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  EXPECT_PRED2(holds, run("$L bench step " + file("c.yaml") + " -n 1 --set model.name=mlp"), "linear+relu");
}

TEST_F(Bench, counts_the_processors_that_a_job_was_left) {
  const std::string first =
      "taskset -c $(sed -n 's/^Cpus_allowed_list:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/self/status) ";
  const std::string output = run(first + "$MPI -n 3 $L bench allreduce --max 8 --schedule ring");
  EXPECT_PRED2(holds, output, "where 3 may run on 1 processors");
}

TEST_F(Bench, a_list_names_schedules_too) {
  std::set<std::string> names;
  for (const Json& row : rows("--max 8 --schedule double_tree:segment=4096,ring"))
    names.insert(row.at("schedule"));
  EXPECT_EQ(names, (std::set<std::string>{"double_tree:segment=4096", "ring"}));
}

TEST_F(Bench, what_cannot_end_well_is_refused_before_it_is_measured) {
  const Ran no_place = shell("$L bench allreduce --max 8 --schedule ring --json /nowhere/rows.json");
  expect_refused(no_place, 2, {"/nowhere/rows.json"});
  EXPECT_FALSE(holds(no_place.output, "all-reduce: 1 ranks"));
  expect_refused(shell("$L bench allreduce --max 8 --schedule auto"), 2, {"'auto' chooses for a training"});
  expect_refused(shell("$L bench allreduce --max 8 --compress int8:foo=1"), 2,
                 {"'int8:foo=1': unknown key 'foo'"});
}

}  // namespace
}  // namespace lockstep::programs
