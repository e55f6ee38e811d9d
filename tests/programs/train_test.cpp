// `lockstep train`: the plan it prints, what --set does, and the files of a run.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

const char* const kCnn = "{name: cnn, cnn: {channels: [4], dropout: 0.25}}";

class Train : public ProgramTest {
 protected:
  Train() { write_images("c.yaml", kCnn, "device: " LOCKSTEP_TEST_DEVICE "\nrun: {log_every: 2}\n"); }
  std::string train(const std::string& words, const std::string& launcher = "") const {
    return run(launcher + " $L train " + file("c.yaml") + " " + words);
  }
};

TEST_F(Train, dry_run_prints_the_plan_and_leaves_nothing_behind) {
  const std::string plan = train("--dry-run && ls");
  for (const char* part : {"global: 16  # ", "batch_norm", "softmax_cross_entropy", "memory of a rank",
                           "exchange by shared over 1 rank(s)", "4 of them on rank 0; 6 steps"})
    EXPECT_PRED2(holds, plan, part);
  EXPECT_FALSE(holds(plan, "runs")) << "ls must find nothing";
  EXPECT_GT(std::stoi(after(plan, "parameters   ")), 100);
}

TEST_F(Train, dry_run_counts_the_parameters_that_training_counts) {
  const std::string plan = train("--dry-run");
  train("--run-dir " + file("run"));
  EXPECT_EQ(std::stoi(after(plan, "parameters   ")), json_of(file("run/summary.json")).at("parameters"));
}

TEST_F(Train, dry_run_under_mpirun_plans_for_its_ranks_and_prints_once) {
  const std::string plan = train("--dry-run", "$MPI -n 4");
  const std::string line = "exchange by shared over 4 rank(s)";
  ASSERT_PRED2(holds, plan, line);
  EXPECT_EQ(plan.find(line), plan.rfind(line));
  EXPECT_PRED2(holds, plan, "1 of them on rank 0");
  EXPECT_PRED2(holds, plan, "3 messages, 1 rounds");
}

TEST_F(Train, the_usual_schedule_suits_place_and_mode) {
  EXPECT_PRED2(holds, train("--dry-run --set train.reproducible=true", "$MPI -n 2"),
               "exchange by halving_doubling over 2 rank(s)");
  EXPECT_PRED2(holds, train("--dry-run --set allreduce=auto", "$MPI -n 2"), "chosen when a run starts");
  EXPECT_PRED2(holds, train("--dry-run --set allreduce=ring", "$MPI -n 2"),
               "exchange by ring over 2 rank(s)");
  EXPECT_PRED2(holds, train("--dry-run --set allreduce=by_place", "$MPI -n 2"),
               "exchange by shared over 2 rank(s)");
}

TEST_F(Train, reproducible_dry_run_shows_the_extra_gradient_arrays) {
  EXPECT_PRED2(holds, train("--dry-run"), "(1 arrays)");
  EXPECT_PRED2(holds, train("--dry-run --set train.reproducible=true"), "(3 arrays)");
}

TEST_F(Train, overrides_win_over_the_file_and_are_recorded_with_their_origin) {
  train("--set train.steps=3 -s optimizer.name=adamw --set optimizer.adamw.beta2=0.9 --run-dir " +
        file("run"));
  const std::string resolved = text_of(file("run/config.yaml"));
  EXPECT_PRED2(holds, resolved, "steps: 3  # --set");
  EXPECT_PRED2(holds, resolved, "global: 16  # " + file("c.yaml") + ":3");
  EXPECT_PRED2(holds, resolved, "seed: 1  # default");
  const YAML::Node yaml = YAML::Load(resolved);
  EXPECT_EQ(yaml["optimizer"]["name"].as<std::string>(), "adamw");
  EXPECT_EQ(yaml["optimizer"]["adamw"]["beta2"].as<double>(), 0.9);
  EXPECT_EQ(json_of(file("run/summary.json")).at("steps"), 3);
}

TEST_F(Train, later_override_wins) {
  train("--set train.steps=3 --set train.steps=2 --run-dir " + file("run"));
  EXPECT_EQ(json_of(file("run/summary.json")).at("steps"), 2);
}

TEST_F(Train, best_checkpoint_outlives_the_newer_ones) {
  // At this rate the first evaluation is the best.
  train(
      "--set rate.peak=30 --set train.steps=8 --set eval.every_steps=1 --set checkpoint.every_steps=1 "
      "--set checkpoint.keep=1 --run-dir " +
      file("run"));
  const Json summary = json_of(file("run/summary.json"));
  const int best = summary.at("best").at("step");
  ASSERT_LT(best, 7);
  const auto exists = [&](int step) {
    return std::filesystem::exists(file("run/checkpoints/step-" + std::to_string(step)));
  };
  EXPECT_TRUE(exists(8));
  EXPECT_TRUE(exists(best) || std::filesystem::exists(file("run/checkpoints/best")))
      << run("ls " + file("run/checkpoints"));
  EXPECT_FALSE(exists(7));
}

TEST_F(Train, resolved_config_repeats_the_run) {
  const std::string first = train("--set run.seed=5 --run-dir " + file("a"));
  const std::string second = run("$L train " + file("a/config.yaml") + " --run-dir " + file("b"));
  EXPECT_EQ(hash_in(first).size(), 16u);
  EXPECT_EQ(hash_in(second), hash_in(first));
  EXPECT_NE(hash_in(train("--run-dir " + file("c"))), hash_in(first)) << "the seed must matter";
}

TEST_F(Train, summary_has_every_promised_field) {
  const std::string output = train("--run-dir " + file("run"), "$MPI -n 2");
  const Json summary = json_of(file("run/summary.json"));
  EXPECT_EQ(summary.at("status"), "done");
  EXPECT_EQ(summary.at("steps"), 6);
  EXPECT_EQ(summary.at("ranks"), 2);
  EXPECT_GT(summary.at("final_train_loss").get<double>(), 0);
  EXPECT_GT(summary.at("eval").at("loss").get<double>(), 0);
  EXPECT_EQ(summary.at("eval").at("accuracy").get<double>(),
            summary.at("eval").at("correct").get<double>() / 22);
  EXPECT_GT(summary.at("samples_per_s").get<double>(), 0);
  EXPECT_GT(summary.at("step_ms").at("median").get<double>(), 0);
  EXPECT_GE(summary.at("step_ms").at("p95"), summary.at("step_ms").at("median"));
  EXPECT_GE(summary.at("exposed_comm_ms").get<double>(), 0);
  EXPECT_NEAR(summary.at("samples_per_s").get<double>(),
              16e3 / summary.at("step_ms").at("median").get<double>(),
              1e-6 * summary.at("samples_per_s").get<double>());
  EXPECT_EQ(summary.at("parameter_hash"), hash_in(output));
  EXPECT_EQ(summary.at("state_hash").get<std::string>().size(), 16u);
  EXPECT_EQ(summary.at("checkpoint"), "checkpoints/step-6");
}

TEST_F(Train, two_ranks_send_a_whole_gradient_each_and_one_sends_nothing) {
  train("--run-dir " + file("one"));
  train("--run-dir " + file("two"), "$MPI -n 2");
  EXPECT_EQ(json_of(file("one/summary.json")).at("wire_bytes_per_step"), 0);
  const Json two = json_of(file("two/summary.json"));
  // halving and doubling between two: half out and half back, of slots padded to 256 bytes
  EXPECT_GE(two.at("wire_bytes_per_step"), 4 * two.at("parameters").get<std::int64_t>());
  EXPECT_LT(two.at("wire_bytes_per_step"), 4 * two.at("parameters").get<std::int64_t>() + 16 * 256);
}

TEST_F(Train, metrics_have_a_line_per_logged_step_evaluation_and_checkpoint) {
  train("--set eval.every_steps=3 --set checkpoint.every_steps=3 --run-dir " + file("run"));
  std::map<std::string, std::vector<int>> steps;
  for (const Json& line : lines_of(file("run/metrics.jsonl"))) {
    steps[line.at("event")].push_back(line.at("step"));
    if (line.at("event") != "step") continue;
    for (const char* key :
         {"loss", "rate", "gradient_norm", "step_ms", "exposed_comm_ms", "data_wait_ms", "epoch"})
      EXPECT_TRUE(line.at(key).is_number()) << key;
    EXPECT_NEAR(line.at("rate").get<double>(), 0.05, 1e-6);
    EXPECT_NEAR(line.at("epoch").get<double>(), line.at("step").get<double>() / 6, 1e-12);
  }
  EXPECT_EQ(steps["step"], (std::vector<int>{1, 2, 4, 6}));
  EXPECT_EQ(steps["evaluation"], (std::vector<int>{3, 6}));
  EXPECT_EQ(steps["checkpoint"].back(), 6);
  EXPECT_EQ(std::ranges::count(steps["checkpoint"], 3), 1);
}

TEST_F(Train, checkpoints_are_whole_and_latest_points_to_the_newest) {
  train("--set checkpoint.every_steps=2 --set checkpoint.keep=2 --set checkpoint.best=false --run-dir " +
            file("run"),
        "$MPI -n 2");
  const auto exists = [&](const std::string& name) {
    return std::filesystem::exists(file("run/checkpoints/" + name));
  };
  EXPECT_FALSE(exists("step-2")) << "only two are kept";
  for (const char* step : {"step-4/", "step-6/"}) {
    for (const char* part : {"manifest.json", "shared.h5", "rank-0.h5", "rank-1.h5"})
      EXPECT_TRUE(exists(std::string(step) + part)) << step << part;
  }
  EXPECT_EQ(json_of(file("run/checkpoints/step-6/manifest.json")).at("step"), 6);
  EXPECT_PRED2(holds,
               run("cat " + file("run/checkpoints/latest") + " 2>/dev/null || readlink " +
                   file("run/checkpoints/latest")),
               "step-6");
}

TEST_F(Train, without_a_run_directory_the_next_free_number_is_taken) {
  const std::string listing = run("$L train " + file("c.yaml") + " > /dev/null && $L train " +
                                  file("c.yaml") + " > /dev/null && ls runs runs/c-2");
  for (const char* part : {"c-1", "c-2", "summary.json", "metrics.jsonl", "config.yaml", "checkpoints"})
    EXPECT_PRED2(holds, listing, part);
  EXPECT_FALSE(holds(listing, "c-3"));
}

TEST_F(Train, resume_continues_to_the_bits_of_one_long_run) {
  const std::string whole = train("--set train.steps=8 --run-dir " + file("whole"));
  train("--set train.steps=4 --run-dir " + file("half"));
  const std::string rest = train("--set train.steps=8 --resume --run-dir " + file("half"));
  EXPECT_PRED2(holds, rest, "steps    4 to 8");
  EXPECT_EQ(hash_in(rest), hash_in(whole));
}

TEST_F(Train, resume_wants_a_run_directory_and_starts_there_when_it_is_empty) {
  expect_refused(shell("$L train " + file("c.yaml") + " --resume"), 2, {"--resume", "--run-dir"});
  // a batch job that is started again does not know whether it is the first
  EXPECT_PRED2(holds, train("--resume --run-dir " + file("new")), "no checkpoint to resume from");
}

TEST_F(Train, only_rank_0_writes_to_the_terminal) {
  const std::string output = train("--run-dir " + file("run"), "$MPI -n 3 --mca orte_tag_output 0");
  EXPECT_EQ(output.find("hash     parameters"), output.rfind("hash     parameters"));
  EXPECT_EQ(output.find("step      1/6"), output.rfind("step      1/6"));
  for (const char* log : {"run/rank-0.log", "run/rank-1.log", "run/rank-2.log"})
    EXPECT_TRUE(std::filesystem::exists(file(log))) << log;
}

TEST_F(Train, keys_of_parts_not_selected_are_noted_and_do_not_stop_the_run) {
  EXPECT_PRED2(holds, train("--set optimizer.lamb.beta1=0.5 --run-dir " + file("run")),
               "optimizer.lamb.beta1");
}

TEST_F(Train, a_run_that_is_done_keeps_its_summary_when_it_is_resumed_once_more) {
  train("--run-dir " + file("run"));
  const std::string before = text_of(file("run/summary.json"));
  for (const char* launcher : {"", "$MPI -n 2"}) {
    const std::string again = train("--resume --run-dir " + file("run"), launcher);
    EXPECT_PRED2(holds, again, "done after 6 steps: nothing is left to do");
    EXPECT_EQ(text_of(file("run/summary.json")), before);
  }
  EXPECT_PRED2(holds, train("--set train.steps=7 --resume --run-dir " + file("run")), "steps    6 to 7");
}

TEST_F(Train, rules_of_compression_are_told_and_those_that_match_nothing_noted) {
  const std::string output = train(
      "--set 'compress.rules=[stage*.conv1.*=int8, fc.*=int8, stge*=topk]' --set compress.min_elements=1 "
      "--run-dir " +
          file("run"),
      "$MPI -n 2");
  EXPECT_PRED2(holds, output, "compression none but for 3 rules");
  EXPECT_PRED2(holds, output, "matches 'stge*' of compress.rules");
  EXPECT_FALSE(holds(output, "matches 'fc.*'"));
}

TEST_F(Train, a_resumed_run_names_what_changed_and_a_refused_one_leaves_the_config) {
  train("--set train.steps=4 --run-dir " + file("run"));
  const std::string before = text_of(file("run/config.yaml"));
  const Ran refused =
      shell("$L train " + file("c.yaml") + " --set optimizer=adamw --resume --run-dir " + file("run"));
  expect_refused(refused, 6, {"optimizer.name sgd, now adamw", "init.weights"});
  EXPECT_EQ(text_of(file("run/config.yaml")), before);
  const std::string output = train("--resume --run-dir " + file("run"));
  EXPECT_PRED2(holds, output, "goes on under the new one: train.steps 4, now 6");
  EXPECT_PRED2(holds, text_of(file("run/config.yaml")), "steps: 6");
}

TEST_F(Train, bytes_that_nobody_counts_are_not_told_as_none) {
  const auto bytes = [&](const std::string& schedule) {
    train("--set allreduce=" + schedule + " --run-dir " + file(schedule), "$MPI -n 2");
    return json_of(file(schedule + "/summary.json")).at("wire_bytes_per_step");
  };
  EXPECT_TRUE(bytes("library").is_null());
  EXPECT_GT(bytes("ring"), 0);
}

}  // namespace
}  // namespace lockstep::programs
