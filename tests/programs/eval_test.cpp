// `lockstep eval`: the same figures from every kind of weight file and at any number of ranks, equal to those
// of training; weights of another model are refused naming slot and shapes.
#include <algorithm>
#include <cmath>

#include "data/hdf5_file.h"
#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

/// The figures of an evaluation line, without its seconds.
std::string figures(const std::string& output) {
  const std::string mark = "eval     ";
  const std::size_t at = output.find(mark);
  if (at == std::string::npos) return "none in: " + output;
  return output.substr(at, output.find(" (", at) - at);
}

class Eval : public ProgramTest {
 protected:
  std::string eval(const std::string& weights, const std::string& launcher = "",
                   const std::string& more = "") const {
    return run(launcher + " $L eval " + file("c.yaml") + " --weights " + file(weights) + " " + more);
  }
  void train(const std::string& more = "") const {
    run("$L train " + file("c.yaml") + " --run-dir " + file("run") + " " + more);
  }
  void export_both() const {
    run("$L export " + file("run") + " " + file("w.safetensors"));
    run("$L export --format hdf5 " + file("run") + " " + file("w.h5"));
  }
};

class EvalModels : public Eval, public testing::WithParamInterface<const char*> {
 protected:
  void prepare() const {
    if (std::string(GetParam()) == "gpt2") return write_gpt("c.yaml");
    write_images("c.yaml", GetParam());
  }
};

TEST_P(EvalModels, checkpoint_safetensors_and_hdf5_give_the_figures_of_training) {
  prepare();
  train();
  export_both();
  const std::string expected = figures(eval("run"));
  const Json trained = json_of(file("run/summary.json")).at("eval");
  EXPECT_NEAR(std::stod(after(expected, "loss ")), trained.at("loss").get<double>(), 6e-5);
  const std::string step = json_of(file("run/summary.json")).at("checkpoint");
  EXPECT_EQ(figures(eval("run/" + step + "/manifest.json")), expected);
  EXPECT_EQ(figures(eval("w.safetensors")), expected);
  EXPECT_EQ(figures(eval("w.h5")), expected);
}

TEST_P(EvalModels, any_number_of_ranks_gives_the_same_figures) {
  prepare();
  train();
  const std::string alone = figures(eval("run"));
  for (const char* launcher : {"$MPI -n 2", "$MPI -n 3"}) EXPECT_EQ(figures(eval("run", launcher)), alone);
  // more ranks than microbatches
  EXPECT_EQ(figures(eval("run", "$MPI -n 3", "--set batch.microbatch=16 --set batch.global=48")),
            figures(eval("run", "", "--set batch.microbatch=16")));
}

INSTANTIATE_TEST_SUITE_P(Models, EvalModels,
                         testing::Values("{name: cnn, cnn: {channels: [4]}}",
                                         "{name: mlp, mlp: {hidden: [8]}}",
                                         "{name: resnet, resnet: {depth: 20}}", "gpt2"),
                         [](const auto& each) { return "model_" + std::to_string(each.index); });

TEST_F(Eval, other_weights_give_other_figures) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  train();
  const std::string first = figures(eval("run"));
  run("$L train " + file("c.yaml") + " --set run.seed=9 --run-dir " + file("other"));
  EXPECT_NE(figures(eval("other")), first);
}

TEST_F(Eval, split_and_microbatch_limit_choose_the_samples) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  train();
  EXPECT_EQ(after(eval("run"), "samples "), "22");
  EXPECT_PRED2(holds, eval("run", "", "--set eval.split=train"), "samples 96");
  EXPECT_PRED2(holds, eval("run", "", "--set eval.microbatches=2"), "samples 8");
}

TEST_F(Eval, weights_of_another_width_are_refused_naming_slot_and_both_shapes) {
  write_images("c.yaml", "{name: mlp, mlp: {hidden: [8]}}");
  train();
  export_both();
  for (const char* weights : {"run", "w.safetensors", "w.h5"}) {
    expect_refused(
        shell("$L eval " + file("c.yaml") + " --set model.mlp.hidden=[9] --weights " + file(weights)), 6,
        {weights, "'fc2.weight'", "[3, 8]", "[3, 9]"});
  }
}

TEST_F(Eval, weights_of_another_model_are_refused_naming_what_is_missing_and_left_over) {
  write_images("c.yaml", "{name: mlp, mlp: {hidden: [8]}}");
  train();
  expect_refused(
      shell("$L eval " + file("c.yaml") + " --set model.mlp.hidden=[8,3] --weights " + file("run")), 6,
      {"does not fit the model", "it lacks 'fc3.weight', 'fc3.bias'"});
  expect_refused(shell("$L eval " + file("c.yaml") + " --set model.name=lenet --weights " + file("run")), 2,
                 {"does not fit"});
}

TEST_F(Eval, damaged_and_missing_weights_are_refused_by_name) {
  write_images("c.yaml", "{name: mlp, mlp: {hidden: [8]}}");
  train();
  export_both();
  run("truncate -s 100 " + file("w.safetensors") + " " + file("w.h5"));
  for (const char* weights : {"w.safetensors", "w.h5", "nowhere.h5"})
    expect_refused(shell("$L eval " + file("c.yaml") + " --weights " + file(weights)), 6, {weights});
}

/// Reads a dataset of f32 or i32 and its shape.
template <class T>
std::vector<T> column(const std::string& file, const std::string& name, const Shape& shape) {
  const auto array = data::Hdf5File::open(file).dataset("/" + name);
  EXPECT_EQ(array.storage().shape.text(), shape.text()) << name;
  std::vector<T> values(static_cast<std::size_t>(array.storage().shape.count()));
  array.read(flat(std::span(values)));
  return values;
}

TEST_F(Eval, predictions_agree_with_the_figures_and_with_the_data) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  train();
  const std::string output = eval("run", "", "--predictions " + file("p.h5"));
  EXPECT_PRED2(holds, output, "wrote    " + file("p.h5"));
  const auto scores = column<float>(file("p.h5"), "prediction", {22, 3});
  const auto losses = column<float>(file("p.h5"), "loss", {22});
  const auto targets = column<std::int32_t>(file("p.h5"), "target", {22});
  std::vector<std::int32_t> labels(22);
  data::Hdf5File::open(file("images.h5")).dataset("/test/label").read(flat(std::span(labels)));
  EXPECT_EQ(targets, labels);
  double sum = 0;
  int right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto* row = scores.data() + 3 * i;
    right += std::max_element(row, row + 3) - row == labels[i] ? 1 : 0;
    const double total = std::exp(row[0]) + std::exp(row[1]) + std::exp(row[2]);
    EXPECT_NEAR(losses[i], std::log(total) - static_cast<double>(row[labels[i]]), 1e-5) << i;
    sum += static_cast<double>(losses[i]);
  }
  EXPECT_EQ(after(output, "correct "), std::to_string(right));
  EXPECT_NEAR(std::stod(after(output, "loss ")), sum / 22, 6e-5);
}

TEST_F(Eval, predictions_are_the_same_at_any_number_of_ranks) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  train();
  const auto predict = [&](const std::string& launcher, const std::string& more) {
    eval("run", launcher, "--predictions " + file("p.h5") + " " + more);
    return column<float>(file("p.h5"), "prediction", {22, 3});
  };
  const auto alone = predict("", "");
  for (const char* launcher : {"$MPI -n 2", "$MPI -n 3", "$MPI -n 4"})
    EXPECT_EQ(predict(launcher, ""), alone);
  // More ranks than microbatches, and a limit on them.
  EXPECT_EQ(predict("$MPI -n 3", "--set batch.microbatch=16 --set batch.global=48"),
            predict("", "--set batch.microbatch=16"));
  eval("run", "$MPI -n 2", "--set eval.microbatches=3 --predictions " + file("p.h5"));
  EXPECT_EQ(column<float>(file("p.h5"), "prediction", {12, 3}),
            std::vector<float>(alone.begin(), alone.begin() + 36));
}

TEST_F(Eval, predictions_of_tokens_have_a_row_for_each_of_them) {
  write_gpt("c.yaml");
  train();
  const std::string output = eval("run", "$MPI -n 2", "--predictions " + file("p.h5"));
  const auto targets = column<std::int32_t>(file("p.h5"), "target", {31, 8});
  const auto losses = column<float>(file("p.h5"), "loss", {31, 8});
  static_cast<void>(column<float>(file("p.h5"), "prediction", {31, 8, 15}));
  double sum = 0, tokens = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    if (targets[i] == -100) continue;
    sum += static_cast<double>(losses[i]);
    tokens += 1;
  }
  EXPECT_EQ(std::stod(after(output, "tokens ")), tokens);
  EXPECT_NEAR(std::stod(after(output, "loss ")), sum / tokens, 6e-5);
}

TEST_F(Eval, predictions_that_cannot_be_written_are_refused_and_leave_nothing) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  train();
  expect_refused(
      shell("$L eval " + file("c.yaml") + " --weights " + file("run") + " --predictions /nowhere/p.h5"), 3,
      {"/nowhere/p.h5"});
  // The last sample has a label that is not there: found when most of the file is written.
  auto set = data::Hdf5File::edit(file("images.h5"));
  std::vector<std::int32_t> label{7};
  set.dataset("/test/label").write_rows(21, 1, flat(std::span(label)));
  set.flush();
  expect_refused(
      shell("$L eval " + file("c.yaml") + " --weights " + file("run") + " --predictions " + file("q.h5")), 3,
      {"label"});
  EXPECT_EQ(run("ls " + file("") + " | grep -c q.h5 || true"), "0\n");
}

TEST_F(Eval, missing_split_is_refused_by_name) {
  write_images("c.yaml", "{name: mlp, mlp: {hidden: [8]}}");
  train();
  expect_refused(shell("$L eval " + file("c.yaml") + " --set eval.split=validation --weights " + file("run")),
                 3, {"validation", "images.h5"});
}

}  // namespace
}  // namespace lockstep::programs
