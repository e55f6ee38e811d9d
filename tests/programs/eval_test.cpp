// `lockstep eval`: the same figures from every kind of weight file and at any number of ranks, equal to those
// of training; weights of another model are refused naming slot and shapes.
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

TEST_F(Eval, missing_split_is_refused_by_name) {
  write_images("c.yaml", "{name: mlp, mlp: {hidden: [8]}}");
  train();
  expect_refused(shell("$L eval " + file("c.yaml") + " --set eval.split=validation --weights " + file("run")),
                 3, {"validation", "images.h5"});
}

}  // namespace
}  // namespace lockstep::programs
