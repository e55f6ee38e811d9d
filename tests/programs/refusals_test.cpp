// Bad input to the real program: the exit code, what is named, and the cure.
#include <filesystem>

#include "data/hdf5_file.h"
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

class Refusal : public testing::Test {
 protected:
  Refusal() {
    trainer::write_tiny_images(dir() + "/images.h5");
    write_config(
        "model: {name: cnn, cnn: {channels: [4]}}\n"
        "data: {files: [" +
        dir() +
        "/images.h5]}\n"
        "batch: {global: 16}\n"
        "train: {steps: 4}\n"
        "device: reference\n");
  }
  [[nodiscard]] const std::string& dir() const { return scratch_.path(); }
  void write_config(const std::string& yaml) { std::ofstream(dir() + "/c.yaml") << yaml; }
  [[nodiscard]] Ran train(const std::string& words, const std::string& launcher = "") const {
    return shell(launcher + " $L train " + dir() + "/c.yaml --run-dir " + dir() + "/run " + words);
  }

 private:
  ScratchDirectory scratch_;
};

TEST_F(Refusal, good_input_is_accepted) { EXPECT_EQ(train("").code, 0); }

TEST_F(Refusal, unknown_key_names_file_line_and_nearest) {
  write_config("model: mlp\nbatch: {globel: 16}\n");
  expect_refused(train(""), 2, {"c.yaml:2", "batch.globel", "batch.global"});
}

TEST_F(Refusal, unknown_override_names_nearest) {
  expect_refused(train("--set optimiser.name=sgd"), 2, {"optimiser", "optimizer"});
}

TEST_F(Refusal, wrong_type_names_key_and_type) {
  expect_refused(train("--set train.steps=many"), 2, {"train.steps", "many", "whole number"});
}

TEST_F(Refusal, unknown_part_lists_the_known) {
  expect_refused(train("--set optimizer.name=adamm"), 2, {"adamm", "adamw"});
}

TEST_F(Refusal, halves_as_gradients_without_a_gpu) {
  expect_refused(train("--set train.gradients=bf16"), 2,
                 {"train.gradients bf16", "GPU", "compress.name bf16"});
}

TEST_F(Refusal, schedule_that_does_not_fit_the_ranks_leaves_no_run) {
  expect_refused(train("--set allreduce=torus2d --set allreduce.torus2d.width=2", "$MPI -n 3"), 2,
                 {"2 ranks wide", "3 ranks", "allreduce.torus2d.width"});
  EXPECT_FALSE(std::filesystem::exists(dir() + "/run"));
}

TEST_F(Refusal, missing_config_file) {
  expect_refused(shell("$L train /nowhere/c.yaml"), 2, {"/nowhere/c.yaml"});
}

TEST_F(Refusal, unknown_command_and_option) {
  expect_refused(shell("$L tarin"), 2, {"tarin", "train"});
  expect_refused(shell("$L train --no-such-option x"), 2, {"no-such-option"});
}

TEST_F(Refusal, missing_data_file) {
  expect_refused(train("--set data.files=[/nowhere/d.h5]"), 3, {"/nowhere/d.h5"});
}

TEST_F(Refusal, truncated_hdf5_file) {
  std::filesystem::resize_file(dir() + "/images.h5", std::filesystem::file_size(dir() + "/images.h5") / 2);
  expect_refused(train(""), 3, {"images.h5"});
}

TEST_F(Refusal, foreign_file) {
  std::ofstream(dir() + "/images.h5") << "this is a text, not HDF5";
  expect_refused(train(""), 3, {"images.h5"});
}

TEST_F(Refusal, hdf5_file_without_our_splits) {
  data::Hdf5File::create(dir() + "/images.h5").make_group("/something");
  expect_refused(train(""), 3, {"images.h5", "train"});
}

TEST_F(Refusal, missing_evaluation_split_names_the_key_before_a_step_is_trained) {
  const Ran ran = train("--set eval.split=validation --set run.log_every=1");
  expect_refused(ran, 3, {"images.h5", "no split 'validation'", "test, train", "set eval.split"});
  EXPECT_FALSE(holds(ran.output, "loss")) << ran.output;
  EXPECT_FALSE(std::filesystem::exists(dir() + "/run/metrics.jsonl"));
  expect_refused(shell("$L train " + dir() + "/c.yaml --dry-run --set eval.split=validation"), 3,
                 {"set eval.split"});
  expect_refused(train("--set data.split=trian"), 3, {"no split 'trian'", "set data.split"});
}

TEST_F(Refusal, evaluation_split_of_another_shape_is_named_before_a_step_is_trained) {
  {
    auto file = data::Hdf5File::edit(dir() + "/images.h5");
    file.make_group("/small");
    std::vector<float> images(2 * 25);
    std::vector<std::int32_t> labels(2);
    file.make_dataset("/small/image", Dtype::f32, Shape{2, 1, 5, 5})
        .write_rows(0, 2, flat(std::span(images)));
    file.make_dataset("/small/label", Dtype::i32, Shape{2}).write_rows(0, 2, flat(std::span(labels)));
    file.flush();
  }
  const Ran ran = train("--set eval.split=small --set run.log_every=1");
  expect_refused(ran, 3, {"eval.split 'small'", "[1, 5, 5]", "data.split 'train'", "[1, 6, 6]"});
  EXPECT_FALSE(holds(ran.output, "loss")) << ran.output;
}

TEST_F(Refusal, run_that_is_refused_leaves_no_directory) {
  const std::string given = " --run-dir " + dir() + "/deep/run ", taken = "$L train " + dir() + "/c.yaml ";
  const std::vector<std::pair<int, std::string>> refused{
      {3, "--set data.files=[/nowhere/d.h5]"},
      {3, "--set data.split=none"},
      {3, "--set eval.split=none"},
      {2, "--set batch.global=200"},
      {6, "--set init.weights=/nowhere/w.h5"},
      {2, "--set device.name=reference --set train.precision=f16"}};
  for (const auto& [code, words] : refused) {
    for (const char* launcher : {"", "$MPI -n 2 "}) {
      const Ran ran = shell(launcher + taken + given + words);
      EXPECT_EQ(ran.code, code) << launcher << words << "\n" << ran.output;
      EXPECT_FALSE(std::filesystem::exists(dir() + "/deep")) << launcher << words;
    }
    EXPECT_PRED2(holds, shell(taken + words + "; ls -A | wc -l").output, "\n1\n") << "only the script";
  }
  // Negative control: the run that is taken makes it.
  EXPECT_EQ(shell(taken + given).code, 0);
  EXPECT_TRUE(std::filesystem::exists(dir() + "/deep/run/summary.json"));
}

TEST_F(Refusal, label_out_of_range) { expect_refused(train("--set data.classes=2"), 3, {"label", "2"}); }

TEST_F(Refusal, weights_of_another_shape) {
  ASSERT_EQ(train("").code, 0);
  ASSERT_EQ(shell("$L export " + dir() + "/run " + dir() + "/w.safetensors").code, 0);
  const std::string wider = " --set model.cnn.channels=[5] --set init.weights=" + dir() + "/w.safetensors";
  expect_refused(shell("$L train " + dir() + "/c.yaml --run-dir " + dir() + "/other" + wider), 6,
                 {"w.safetensors", "[3, 36]", "[3, 45]"});
}

TEST_F(Refusal, missing_weights) {
  expect_refused(train("--set init.weights=/nowhere/w.h5"), 6, {"/nowhere/w.h5"});
}

TEST_F(Refusal, batch_not_divisible_by_ranks) {
  expect_refused(train("", "$MPI -n 3"), 2, {"16", "3 ranks"});
}

TEST_F(Refusal, more_ranks_than_work) {
  expect_refused(train("--set batch.microbatch=8", "$MPI -n 3"), 2, {"at most 2 ranks"});
}

TEST_F(Refusal, more_samples_asked_than_there_are) {
  expect_refused(train("--set batch.global=200"), 2, {"96 samples", "200"});
}

void expect_once(const Ran& ran, int code, const std::string& error) {
  EXPECT_EQ(ran.code, code) << ran.output;
  const std::size_t first = ran.output.find(error);
  ASSERT_NE(first, std::string::npos) << ran.output;
  EXPECT_EQ(ran.output.find(error, first + 1), std::string::npos) << ran.output;
}

TEST_F(Refusal, an_error_of_all_ranks_is_printed_once) {
  const Ran ran = train("--set data.files=[/nowhere/d.h5]", "$MPI -n 2");
  expect_once(ran, 3, "lockstep: data error");
  EXPECT_NE(ran.output.find("[rank 0 on "), std::string::npos) << ran.output;
}

TEST_F(Refusal, unwritable_run_directory) {
  expect_refused(shell("$L train " + dir() + "/c.yaml --run-dir /dev/null/run"), 2, {"/dev/null/run"});
}

TEST_F(Refusal, run_directory_of_another_run) {
  ASSERT_EQ(train("").code, 0);
  expect_refused(train(""), 2, {"holds another run", "--resume"});
}

TEST_F(Refusal, diverged_run_ends_with_code_7) {
  trainer::write_tiny_images(dir() + "/images.h5", 13);
  expect_refused(train(""), 7, {"not finite", "13"});
}

TEST_F(Refusal, eval_without_weights) {
  expect_refused(shell("$L eval " + dir() + "/c.yaml"), 2, {"--weights"});
}

TEST_F(Refusal, bf16_is_refused_by_name_or_works) {
  const Ran ran = train("--set train.precision=bf16 --set device.name=cpu");
  if (ran.code == 0) GTEST_SKIP() << "this processor computes in bf16";
  expect_refused(ran, 5, {"bf16"});
}

TEST_F(Refusal, bf16_on_a_cpu_that_lacks_it_is_named_with_the_cure) {
  if (std::string(LOCKSTEP_TEST_DEVICE) != "cpu") GTEST_SKIP() << "no cpu backend in this build";
  // oneDNN can be told to see an older CPU.
  const Ran ran =
      shell("export ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2\n$L train " + dir() + "/c.yaml --run-dir " +
            dir() + "/run --set train.precision=bf16 --set device.name=cpu");
  expect_refused(ran, 5, {"bf16", "AVX512-BF16", "f32"});
}

TEST_F(Refusal, a_split_without_samples_is_found_before_training) {
  {
    auto file = data::Hdf5File::edit(dir() + "/images.h5");
    file.make_group("/nobody");
    file.make_dataset("/nobody/image", Dtype::f32, Shape{0, 1, 6, 6});
    file.make_dataset("/nobody/label", Dtype::i32, Shape{0});
    file.flush();
  }
  for (const char* section : {"eval", "data"}) {
    const std::string key = std::string(section) + ".split";
    const Ran ran = train("--set " + key + "=nobody --set run.log_every=1");
    expect_refused(ran, 3, {"images.h5", "split 'nobody'", "no samples", "set " + key});
    EXPECT_FALSE(holds(ran.output, "loss")) << ran.output;
  }
}

TEST_F(Refusal, a_key_by_its_name_elsewhere) {
  expect_refused(train("--set optimizer.lr=0.1"), 2, {"optimizer.lr", "'rate.peak'"});
  expect_refused(train("--set batch_size=32"), 2, {"batch_size", "'batch.global'"});
  expect_refused(train("--set compress=powersgd:rank=2"), 2, {"'powersgd'", "compress.powersgd.KEY=VALUE"});
}

TEST_F(Refusal, steps_and_epochs_together_with_the_way_out) {
  expect_refused(train("--set train.epochs=0.5"), 2, {"train.epochs (--set) is 0.5", "--set train.epochs=0"});
}

TEST_F(Refusal, an_error_before_mpi_starts_is_printed_once) {
  expect_once(train("--set train.stepps=2", "$MPI -n 3"), 2, "lockstep: config error");
}

}  // namespace
}  // namespace lockstep::programs
