// `lockstep export`: names and shapes are those of torchvision's and Hugging Face's files, and nothing but
// the checkpoint's numbers is in them.
#include "tests/programs/program_test.h"
#include "trainer/safetensors.h"
#include "trainer/state_dict.h"
#include "trainer/weights.h"

namespace lockstep::programs {
namespace {

class Export : public ProgramTest {
 protected:
  /// Trains a step and exports it.
  trainer::NamedTensors exported(const std::string& words = "") const {
    run("$L train " + file("c.yaml") + " --set train.steps=1 --run-dir " + file("run"));
    const std::string output = run("$L export " + words + " " + file("run") + " " + file("w"));
    const trainer::NamedTensors tensors = trainer::read_weights(file("w"));
    EXPECT_PRED2(holds, output, "wrote " + std::to_string(tensors.size()) + " tensors");
    return tensors;
  }
};

using Shapes = std::vector<std::pair<const char*, Shape>>;

void expect_shapes(const trainer::NamedTensors& tensors, const Shapes& wanted) {
  for (const auto& [name, shape] : wanted) {
    ASSERT_TRUE(tensors.contains(name)) << name;
    EXPECT_EQ(tensors.find(name)->second.shape.text(), shape.text()) << name;
  }
}

TEST_F(Export, resnet_18_has_the_tensors_of_torchvision_but_its_counters) {
  trainer::write_tiny_images(file("images.h5"));
  write_text(file("c.yaml"),
             "model: {name: resnet, resnet: {depth: 18}}\ndata: {files: [" + file("images.h5") +
                 "]}\nbatch: {global: 2}\neval: {microbatches: 1}\ndevice: " LOCKSTEP_TEST_DEVICE "\n");
  const auto tensors = exported();
  EXPECT_EQ(tensors.size(), 102u);  // torchvision's 122 less 20 num_batches_tracked
  expect_shapes(tensors, {{"conv1.weight", {64, 1, 7, 7}},
                          {"bn1.running_mean", {64}},
                          {"layer1.0.conv1.weight", {64, 64, 3, 3}},
                          {"layer1.1.bn2.running_var", {64}},
                          {"layer2.0.downsample.0.weight", {128, 64, 1, 1}},
                          {"layer2.0.downsample.1.weight", {128}},
                          {"layer4.1.conv2.weight", {512, 512, 3, 3}},
                          {"fc.weight", {3, 512}},
                          {"fc.bias", {3}}});
}

TEST_F(Export, gpt2_has_the_names_and_transposed_matrices_of_hugging_face) {
  write_gpt("c.yaml");
  const auto tensors = exported();
  EXPECT_EQ(tensors.size(), 2u + 2 * 12 + 2);
  expect_shapes(tensors, {{"transformer.wte.weight", {15, 16}},
                          {"transformer.wpe.weight", {8, 16}},
                          {"transformer.h.0.ln_1.weight", {16}},
                          {"transformer.h.0.attn.c_attn.weight", {16, 48}},
                          {"transformer.h.1.attn.c_proj.bias", {16}},
                          {"transformer.h.1.mlp.c_fc.weight", {16, 64}},
                          {"transformer.h.1.mlp.c_proj.weight", {64, 16}},
                          {"transformer.ln_f.bias", {16}}});
  EXPECT_FALSE(tensors.contains("lm_head.weight")) << "it is tied to wte";
}

TEST_F(Export, both_formats_hold_the_same_bits) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  const auto safetensors = exported();
  run("$L export --format=hdf5 " + file("run") + " " + file("w.h5"));
  const auto hdf5 = trainer::read_state_dict(file("w.h5"));
  ASSERT_EQ(hdf5.size(), safetensors.size());
  for (const auto& [name, tensor] : safetensors) {
    EXPECT_EQ(hdf5.at(name).values, tensor.values) << name;
    EXPECT_EQ(hdf5.at(name).shape, tensor.shape) << name;
  }
}

TEST_F(Export, starting_from_an_export_keeps_every_bit) {
  for (const char* model : {"{name: cnn, cnn: {channels: [4]}}", "gpt2"}) {
    if (std::string(model) == "gpt2") {
      write_gpt("c.yaml");
    } else {
      write_images("c.yaml", model);
    }
    run("rm -rf " + file("run") + " " + file("again"));
    static_cast<void>(exported());
    // This rate is zero in f32 and changes nothing but the batch-norm statistics.
    run("$L train " + file("c.yaml") + " --set init.weights=" + file("w") +
        " --set rate.peak=1e-60 --set train.steps=1 --run-dir " + file("again"));
    EXPECT_EQ(json_of(file("again/summary.json")).at("parameter_hash"),
              json_of(file("run/summary.json")).at("parameter_hash"))
        << model;
  }
}

TEST_F(Export, older_checkpoint_can_be_named_and_differs_from_the_newest) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  run("$L train " + file("c.yaml") + " --set checkpoint.every_steps=3 --run-dir " + file("run"));
  run("$L export " + file("run/checkpoints/step-3") + " " + file("old"));
  run("$L export " + file("run") + " " + file("new"));
  run("$L export " + file("run/checkpoints/step-6") + " " + file("six"));
  EXPECT_EQ(text_of(file("six")), text_of(file("new")));
  EXPECT_NE(text_of(file("old")), text_of(file("new")));
}

TEST_F(Export, config_is_found_beside_the_checkpoint_or_named) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  const auto expected = exported();
  run("mv " + file("run/checkpoints/step-1") + " " + file("lonely"));
  expect_refused(shell("$L export " + file("lonely") + " " + file("out")), 2,
                 {"found no config.yaml above", "--config"});
  run("$L export --config " + file("run/config.yaml") + " " + file("lonely") + " " + file("out"));
  EXPECT_EQ(text_of(file("out")), text_of(file("w")));
}

TEST_F(Export, unknown_format_missing_checkpoint_and_unwritable_place_are_refused) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  static_cast<void>(exported());
  expect_refused(shell("$L export --format onnx " + file("run") + " " + file("o")), 2, {"'onnx'", "hdf5"});
  expect_refused(shell("$L export " + file("run") + " /nowhere/w.safetensors"), 6,
                 {"/nowhere/w.safetensors"});
  run("rm -r " + file("run/checkpoints"));
  expect_refused(shell("$L export " + file("run") + " " + file("o")), 6, {"run"});
}

TEST_F(Export, the_name_of_the_file_tells_the_format_unless_an_option_does) {
  write_images("c.yaml", "{name: cnn, cnn: {channels: [4]}}");
  run("$L train " + file("c.yaml") + " --set train.steps=1 --run-dir " + file("run"));
  const auto is_hdf5 = [&](const std::string& words, const std::string& out) {
    run("$L export " + words + " " + file("run") + " " + file(out));
    return text_of(file(out)).starts_with("\x89HDF");
  };
  EXPECT_TRUE(is_hdf5("", "w.h5"));
  EXPECT_TRUE(is_hdf5("", "w.hdf5"));
  EXPECT_FALSE(is_hdf5("", "w.safetensors"));
  EXPECT_FALSE(is_hdf5("", "w"));
  EXPECT_TRUE(is_hdf5("--format hdf5", "w.bin"));
  EXPECT_FALSE(is_hdf5("--format safetensors", "x.h5"));
}

}  // namespace
}  // namespace lockstep::programs
