// Weights by name into and out of models: round trips through files, foreign names, and precise refusals.
#include "trainer/weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "comm/allreduce/schedule.h"
#include "comm/collectives.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/trainer/weights_subject.h"
#include "trainer/checkpoint.h"
#include "trainer/safetensors.h"
#include "trainer/state_dict.h"

namespace lockstep::trainer {
namespace {

using models::images;
using models::tokens;

Subject resnet(std::uint64_t seed = 1) { return {"resnet", {}, images({3, 32, 32}, 10), seed}; }
Subject gpt2(std::uint64_t seed = 1) {
  return {"gpt2", {{"layers", "2"}, {"width", "8"}, {"heads", "2"}}, tokens(6, 11), seed};
}

TEST(Weights, export_and_load_repeat_every_bit) {
  for (auto make : {resnet, gpt2}) {
    const Subject from = make(1);
    Subject into = make(2);
    ASSERT_NE(from.store.parameter_hash(), into.store.parameter_hash());
    const std::string path = scratch("x.safetensors");
    export_safetensors(path, *from.model, from.store);
    load_weights(path, *into.model, into.store);
    EXPECT_EQ(from.store.parameter_hash(), into.store.parameter_hash());
    EXPECT_EQ(from.store.state_hash(), into.store.state_hash());
    std::filesystem::remove(path);
  }
}

TEST(Weights, state_dict_in_hdf5_repeats_every_bit) {
  const Subject from = resnet(1);
  Subject into = resnet(2);
  const std::string path = scratch("x.h5");
  write_state_dict(path, collect_weights(*from.model, from.store));
  load_weights(path, *into.model, into.store);
  EXPECT_EQ(from.store.parameter_hash(), into.store.parameter_hash());
  EXPECT_EQ(from.store.state_hash(), into.store.state_hash());
  std::filesystem::remove(path);
}

TEST(Weights, checkpoint_state_repeats_every_bit) {
  const Subject from = resnet(1);
  Subject into = resnet(2);
  StateMap saved;
  StateWriter writer(saved);
  StateWriter model = writer.scope("model");
  from.store.save(model);
  assign_weights(tensors_of(saved), "step-1", *into.model, into.store);
  EXPECT_EQ(from.store.parameter_hash(), into.store.parameter_hash());
  EXPECT_EQ(from.store.state_hash(), into.store.state_hash());
}

class WeightsOfRuns : public testing::TestWithParam<Subject (*)(std::uint64_t)> {};
// GPT-2's foreign names are its own, its foreign matrices are transposed: a checkpoint must not be taken for
// one.
INSTANTIATE_TEST_SUITE_P(Models, WeightsOfRuns, testing::Values(resnet, gpt2),
                         [](const auto& each) { return each.index == 0 ? "resnet" : "gpt2"; });

TEST_P(WeightsOfRuns, newest_checkpoint_is_loaded) {
  const auto make = GetParam();
  const std::string run = scratch("run");
  std::filesystem::remove_all(run);
  std::filesystem::create_directories(run);
  const auto world = comm::make_self_world();
  const auto& row = comm::schedules().row(comm::default_schedule({}));
  comm::Control control(comm::make_collectives(
      world->transport(10), comm::schedules().create(row.name, Options::of(row.settings))));
  std::string newest;
  for (const std::uint64_t seed : {1, 2}) {
    const Subject from = make(seed);
    Checkpoint checkpoint;
    checkpoint.step = static_cast<std::int64_t>(seed);
    StateWriter writer = StateWriter(checkpoint.shared).scope("model");
    from.store.save(writer);
    newest = save_checkpoint(run, checkpoint, {}, control);
  }
  const Subject second = make(2);
  for (const std::string& path : {run, run + "/" + newest, run + "/" + newest + "/manifest.json"}) {
    Subject into = make(3);
    load_weights(path, *into.model, into.store);
    EXPECT_EQ(into.store.parameter_hash(), second.store.parameter_hash()) << path;
    EXPECT_EQ(into.store.state_hash(), second.store.state_hash()) << path;
  }
  std::filesystem::remove_all(run);
  std::filesystem::create_directories(run);
  expect_says(refusal([&] { (void)read_weights(run); }), run);
  std::filesystem::remove_all(run);
}

TEST(Weights, averaged_values_of_a_checkpoint_win) {
  StateMap saved;
  StateWriter writer(saved);
  writer.scope("model").scope("values").floats("w", Shape{1}, std::vector<float>{1});
  writer.scope("model").scope("state").floats("m", Shape{1}, std::vector<float>{2});
  writer.scope("average").floats("w", Shape{1}, std::vector<float>{3});
  const NamedTensors tensors = tensors_of(saved);
  EXPECT_EQ(tensors.at("w").values, std::vector<float>{3});
  EXPECT_EQ(tensors.at("m").values, std::vector<float>{2});
  expect_says(refusal([] { (void)tensors_of(StateMap{}); }), "holds no model");
}

TEST(Weights, gpt2_matrices_are_transposed_and_named_as_published) {
  const Subject subject = gpt2();
  const NamedTensors tensors = collect_weights(*subject.model, subject.store);
  const auto& theirs = tensors.at("transformer.h.1.attn.c_attn.weight");
  EXPECT_EQ(theirs.shape, (Shape{8, 24}));
  const auto ours = subject.store.read("transformer.h.1.attn.c_attn.weight");
  EXPECT_EQ(theirs.values[5], ours[5 * 8]);
  EXPECT_EQ(theirs.values[24], ours[1]);
  EXPECT_EQ(tensors.at("transformer.wte.weight").shape, (Shape{11, 8}));
  EXPECT_FALSE(tensors.contains("lm_head.weight"));
}

TEST(Weights, gpt2_files_without_prefix_with_masks_and_tied_head_load) {
  const Subject from = gpt2(1);
  Subject into = gpt2(2);
  NamedTensors published;
  for (const auto& [name, tensor] : collect_weights(*from.model, from.store)) {
    published[name.substr(std::strlen("transformer."))] = tensor;
  }
  published["h.0.attn.bias"] = {Shape{1, 1, 6, 6}, std::vector<float>(36)};
  published["h.0.attn.masked_bias"] = {Shape{}, {-1e4f}};
  published["lm_head.weight"] = published.at("wte.weight");
  assign_weights(published, "gpt2", *into.model, into.store);
  EXPECT_EQ(from.store.parameter_hash(), into.store.parameter_hash());

  published["lm_head.weight"].values[3] += 1;
  expect_says(refusal([&] { assign_weights(published, "gpt2", *into.model, into.store); }),
              "'lm_head.weight' differs from the weights it is tied to ('transformer.wte.weight')");
}

TEST(Weights, wrapper_prefix_and_batch_counters_are_passed_over) {
  const Subject from = resnet(1);
  Subject into = resnet(2);
  NamedTensors wrapped;
  for (const auto& [name, tensor] : collect_weights(*from.model, from.store))
    wrapped["module." + name] = tensor;
  wrapped["module.bn1.num_batches_tracked"] = {Shape{}, {}, "I64"};
  assign_weights(wrapped, "x", *into.model, into.store);
  EXPECT_EQ(from.store.parameter_hash(), into.store.parameter_hash());
}

TEST(Weights, misfits_are_named_and_leave_the_model_alone) {
  Subject subject = resnet();
  const NamedTensors good = collect_weights(*subject.model, subject.store);
  const auto hash = subject.store.parameter_hash();
  const auto assign = [&](const NamedTensors& tensors) {
    return refusal([&] { assign_weights(tensors, "w.safetensors", *subject.model, subject.store); });
  };
  NamedTensors tensors = good;
  tensors.erase("linear.bias");
  for (auto& value : tensors.at("conv1.weight").values) value = 0;
  expect_says(assign(tensors), "'w.safetensors' does not fit the model: it lacks 'linear.bias'");

  tensors = good;
  tensors["fc.weight"] = {Shape{1}, {0}};
  expect_says(assign(tensors), "the model has no 'fc.weight'");

  tensors = good;
  tensors["linear.weight"] = {Shape{100, 64}, std::vector<float>(6400)};
  expect_says(assign(tensors),
              "tensor 'linear.weight' has shape [100, 64], the model's 'linear.weight' wants [10, 64]");

  tensors = good;
  tensors["linear.bias"] = {Shape{10}, {}, "I64"};
  expect_says(assign(tensors), "tensor 'linear.bias' has type I64");

  const std::string none = assign({});
  expect_says(none, "it lacks 'conv1.weight'");
  expect_says(none, "more");
  EXPECT_EQ(subject.store.parameter_hash(), hash);
}

TEST(Weights, what_should_be_a_matrix_and_is_none_is_refused_by_its_shape) {
  Subject subject = gpt2();
  const char* const name = "transformer.h.0.mlp.c_fc.weight";
  NamedTensors theirs = collect_weights(*subject.model, subject.store);
  theirs[name] = with_foreign_names(*subject.model, {{name, {Shape{5}, std::vector<float>(5)}}}).at(name);
  expect_says(refusal([&] { assign_weights(theirs, "step-1", *subject.model, subject.store); }),
              "'transformer.h.0.mlp.c_fc.weight' has shape [5]");
}

TEST(Weights, another_depth_is_refused) {
  const Subject from("resnet", {{"depth", "32"}}, images({3, 32, 32}, 10), 1);
  Subject into = resnet();
  expect_says(refusal([&] {
                assign_weights(collect_weights(*from.model, from.store), "x", *into.model, into.store);
              }),
              "the model has no 'layer1.3.bn1.bias'");
}

TEST(Weights, foreign_and_missing_files_are_refused_by_name) {
  expect_says(refusal([] { (void)read_weights("nowhere.safetensors"); }),
              "there is no weight file 'nowhere.safetensors'");
  const std::string path = scratch("model.pth");
  std::ofstream(path) << "PK\3\4 this is a zip of pickles";
  expect_says(refusal([&] { (void)read_weights(path); }),
              "neither a checkpoint, a safetensors file nor an HDF5 state dict");
  std::ofstream(path) << "\x89HDF\r\n\x1a\n and then nothing";
  expect_says(refusal([&] { (void)read_weights(path); }), path);
  std::filesystem::remove(path);
}

TEST(Weights, published_resnet20_state_dict_loads) {
  const std::string path = std::string(LOCKSTEP_SHARED_DATA) + "/resnet-cifar-weights/resnet20_dev.h5";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "resnet-cifar-weights is not here";
  Subject subject = resnet();
  load_weights(path, *subject.model, subject.store);
  const NamedTensors file = read_state_dict(path);
  EXPECT_EQ(subject.store.read("linear.weight"), file.at("linear.weight").values);
  EXPECT_EQ(subject.store.read("bn1.running_var"), file.at("bn1.running_var").values);
  Subject option_b("resnet", {{"shortcut", "B"}}, images({3, 32, 32}, 10), 1);
  expect_says(refusal([&] { load_weights(path, *option_b.model, option_b.store); }),
              "it lacks 'layer2.0.shortcut.0.weight'");
}

}  // namespace
}  // namespace lockstep::trainer
