// Small whole runs on a GPU beside the host: the same losses, the same files, the same decisions.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <utility>

#include "comm/worlds.h"
#include "core/error.h"
#include "tests/support/gpu.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

namespace fs = std::filesystem;

/// Keeps what the run tells.
class Notebook final : public RunLog {
 public:
  std::vector<float> losses;
  std::vector<std::string> notes;
  void start(const RunFacts& /*facts*/) override {}
  void step(const StepRecord& record) override { losses.push_back(record.result.loss); }
  void evaluation(std::int64_t /*step*/, const Evaluation& /*evaluation*/, bool /*best*/) override {}
  void checkpoint(std::int64_t /*step*/, const std::string& /*path*/, double /*seconds*/) override {}
  void note(std::string_view sentence) override { notes.emplace_back(sentence); }
  void finish(const RunEnd& /*end*/) override {}
};

struct Told {
  Outcome outcome;
  std::vector<float> losses;
  std::vector<std::string> notes;
};

class GpuTraining : public ::testing::Test {
 protected:
  GpuTraining() {
    write_tiny_images(scratch_.path() + "/images.h5");
    write_tiny_tokens(scratch_.path() + "/tokens.h5");
  }

  [[nodiscard]] Told run(const std::string& kind, const Overrides& overrides, const std::string& directory,
                         bool resume = false, int stop_after = 0) const {
    const std::string where = scratch_.path() + "/" + directory;
    fs::create_directories(where);
    TrainingOptions options{.run_directory = where, .resume = resume, .asked_to_stop = nullptr};
    int asked = 0;
    if (stop_after > 0)
      options.asked_to_stop = [&]() -> std::string { return ++asked > stop_after ? "SIGUSR1" : ""; };
    const auto world = comm::make_self_world();
    Notebook notebook;
    const Config config = tiny_config(scratch_.path(), kind, overrides);
    Outcome outcome = train(config, *world, notebook, options);
    return {std::move(outcome), std::move(notebook.losses), std::move(notebook.notes)};
  }

  ScratchDirectory scratch_;
};

Overrides with(Overrides base, const Overrides& more) {
  base.insert(base.end(), more.begin(), more.end());
  return base;
}

const Overrides kMlp = {"model.name=mlp", "train.steps=10"};
const Overrides kTokens = {"model.gpt2.dropout=0", "train.steps=10"};
const Overrides kOnHost = {"device.name=reference"};
const Overrides kOnGpu = {"device.name=cuda", "device.cuda.graph=on", "device.cuda.tune=false"};
const Overrides kEager = {"device.name=cuda", "device.cuda.graph=off", "device.cuda.tune=false"};

void expect_close(const std::vector<float>& host, const std::vector<float>& gpu, float tolerance) {
  ASSERT_EQ(host.size(), gpu.size());
  for (std::size_t i = 0; i < host.size(); ++i)
    EXPECT_NEAR(host[i], gpu[i], tolerance * std::abs(host[i])) << "step " << i;
}

TEST_F(GpuTraining, automatic_schedule_of_a_lone_gpu_changes_nothing) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Overrides chosen = with(with(kMlp, kOnGpu), {"allreduce.name=auto", "allreduce.auto.cache=false"});
  const Told plain = run("images", with(kMlp, kOnGpu), "plain"), told = run("images", chosen, "auto");
  EXPECT_EQ(told.losses, plain.losses);
  EXPECT_TRUE(fs::exists(scratch_.path() + "/auto/allreduce.json"));
}

TEST_F(GpuTraining, mlp_follows_the_host) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Told host = run("images", with(kMlp, kOnHost), "host");
  const Told gpu = run("images", with(kMlp, kOnGpu), "gpu");
  expect_close(host.losses, gpu.losses, 1e-4f);
  EXPECT_LT(gpu.losses.back(), gpu.losses.front());
}

TEST_F(GpuTraining, gpt2_follows_the_host) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Told host = run("tokens", with(kTokens, kOnHost), "host");
  const Told gpu = run("tokens", with(kTokens, kOnGpu), "gpu");
  expect_close(host.losses, gpu.losses, 1e-4f);
}

TEST_F(GpuTraining, dropout_masks_are_the_hosts_also_in_a_recording) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Overrides tokens = {"model.gpt2.dropout=0.3", "train.steps=10"};
  const Told host = run("tokens", with(tokens, kOnHost), "host");
  const Told gpu = run("tokens", with(tokens, kOnGpu), "gpu");
  expect_close(host.losses, gpu.losses, 1e-4f);
}

TEST_F(GpuTraining, recorded_steps_have_the_bits_of_enqueued_ones) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  for (const char* average : {"train.ema=0", "train.ema=0.9"}) {
    const Overrides tokens = {"train.steps=8", average, "train.reproducible=true", "batch.microbatch=2",
                              "allreduce.name=recursive_doubling"};
    const std::string name = average;
    const Told recorded = run("tokens", with(tokens, kOnGpu), name + "-on");
    const Told enqueued = run("tokens", with(tokens, kEager), name + "-off");
    EXPECT_EQ(recorded.losses, enqueued.losses);
    EXPECT_EQ(recorded.outcome.end.parameter_hash, enqueued.outcome.end.parameter_hash);
    EXPECT_EQ(recorded.outcome.evaluation.values, enqueued.outcome.evaluation.values);
  }
}

TEST_F(GpuTraining, checkpoint_of_one_device_goes_on_on_the_other) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Told whole = run("images", with(kMlp, kOnHost), "whole");
  for (const auto& [first, second] : {std::pair(kOnGpu, kOnHost), std::pair(kOnHost, kOnGpu)}) {
    const std::string directory = "parts-" + first[0];
    const Told begun = run("images", with(kMlp, first), directory, false, 4);
    EXPECT_EQ(begun.outcome.exit_code, 75);
    const Told ended = run("images", with(kMlp, second), directory, true);
    std::vector<float> losses = begun.losses;
    losses.insert(losses.end(), ended.losses.begin(), ended.losses.end());
    expect_close(whole.losses, losses, 1e-4f);
  }
}

TEST_F(GpuTraining, resumed_run_repeats_the_uninterrupted_one) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Overrides settings = with(kMlp, with(kOnGpu, {"optimizer.name=adamw", "train.reproducible=true",
                                                      "allreduce.name=recursive_doubling"}));
  const Told whole = run("images", settings, "whole");
  const Told begun = run("images", settings, "part", false, 4);
  const Told ended = run("images", settings, "part", true);
  EXPECT_EQ(begun.outcome.exit_code, 75);
  EXPECT_EQ(ended.outcome.end.parameter_hash, whole.outcome.end.parameter_hash);
}

TEST_F(GpuTraining, a_poisoned_sample_is_found_and_skipped) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  write_tiny_images(scratch_.path() + "/images.h5", 5);
  const Told skipped = run("images", with(kMlp, with(kOnGpu, {"train.on_nonfinite=skip"})), "skip");
  ASSERT_FALSE(skipped.notes.empty());
  EXPECT_NE(skipped.notes.back().find("samples"), std::string::npos) << skipped.notes.back();
  for (const float loss : skipped.losses) EXPECT_TRUE(std::isfinite(loss));
  try {
    static_cast<void>(run("images", with(kMlp, kOnGpu), "stop"));
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged) << error.what();
  }
}

TEST_F(GpuTraining, every_precision_descends) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  for (const std::string precision : {"f32", "tf32", "bf16", "f16"}) {
    const Told gpu = run(
        "images", with(kMlp, with(kOnGpu, {"train.precision=" + precision, "train.steps=20"})), precision);
    EXPECT_LT(gpu.losses.back(), gpu.losses.front()) << precision;
  }
}

TEST_F(GpuTraining, compressed_gradients_follow_the_host) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  for (const std::string name : {"bf16", "int8", "int4", "ef_sign", "topk", "powersgd", "shared_grid"}) {
    const Overrides settings =
        with(kMlp, {"compress.name=" + name, "compress.min_elements=16", "compress.sample_every=2"});
    const Told host = run("images", with(settings, kOnHost), name + "-host");
    const Told gpu = run("images", with(settings, kEager), name + "-gpu");
    SCOPED_TRACE(name);
    expect_close(host.losses, gpu.losses, 2e-2f);  // a code near the middle may fall to either side
  }
}

TEST_F(GpuTraining, residuals_go_on_from_a_checkpoint) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Overrides settings = with(kMlp, with(kEager, {"compress.name=int4", "compress.min_elements=16"}));
  const Told whole = run("images", settings, "whole");
  const Told begun = run("images", settings, "part", false, 4);
  const Told ended = run("images", settings, "part", true);
  EXPECT_EQ(begun.outcome.exit_code, 75);
  std::vector<float> losses = begun.losses;
  losses.insert(losses.end(), ended.losses.begin(), ended.losses.end());
  expect_close(whole.losses, losses, 1e-4f);
}

/// Codecs that need no number of a step: also sampled steps and an exact start, which are enqueued, between
/// recorded ones.
TEST_F(GpuTraining, plain_codecs_are_recorded_with_the_bits_of_enqueued_steps) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  for (const std::string name : {"bf16", "int8"}) {
    const Overrides settings = with(kMlp, {"compress.name=" + name, "compress.min_elements=16",
                                           "compress.exact_steps=2", "compress.sample_every=4"});
    const Told recorded = run("images", with(settings, kOnGpu), "recorded-" + name);
    const Told enqueued = run("images", with(settings, kEager), "enqueued-" + name);
    EXPECT_EQ(recorded.losses, enqueued.losses) << name;
    EXPECT_EQ(recorded.outcome.end.parameter_hash, enqueued.outcome.end.parameter_hash) << name;
  }
}

TEST_F(GpuTraining, other_compressed_steps_are_not_recorded_and_say_so) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  try {
    static_cast<void>(run("images", with(kMlp, with(kOnGpu, {"compress.name=topk"})), "recorded"));
    FAIL() << "ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find("compression"), std::string::npos) << error.what();
  }
}

TEST_F(GpuTraining, gradients_in_bf16_follow_those_in_f32) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Overrides tokens = with(kTokens, with(kOnGpu, {"train.precision=bf16", "batch.microbatch=8"}));
  for (const char* optimizer : {"adamw", "sgd", "lars", "lamb"}) {
    const Overrides own = with(tokens, {std::string("optimizer.name=") + optimizer});
    const Told narrow =
        run("tokens", with(own, {"train.gradients=bf16"}), std::string("narrow-") + optimizer);
    expect_close(run("tokens", own, std::string("wide-") + optimizer).losses, narrow.losses, 1e-2f);
    EXPECT_LT(narrow.losses.back(), narrow.losses.front()) << optimizer;
  }
}

TEST_F(GpuTraining, an_absent_gpu_is_named_with_the_cure) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  try {
    static_cast<void>(run("images", with(kMlp, with(kOnGpu, {"device.cuda.index=99"})), "absent"));
    FAIL() << "ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::device);
    EXPECT_NE(std::string(error.what()).find("99"), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST_F(GpuTraining, two_ranks_do_not_share_a_gpu_unnoticed) {
  LOCKSTEP_NEEDS_VISIBLE_GPU();
  const Config config =
      tiny_config(scratch_.path(), "images", with(kMlp, with(kOnGpu, {"device.cuda.index=0"})));
  try {
    static_cast<void>(run_tiny(config, 2, {.run_directory = scratch_.path(), .asked_to_stop = nullptr}));
    FAIL() << "ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::device);
    EXPECT_NE(std::string(error.what()).find("share"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lockstep::trainer
